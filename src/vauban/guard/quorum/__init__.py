"""The quorum: a few models of different architectures that answer together; one that fails never helps an attempt to be accepted."""

from vauban.guard.quorum.ensemble import Ensemble, read_ensemble
from vauban.guard.quorum.manifest import Manifest
from vauban.guard.quorum.model import Model, load
from vauban.guard.quorum.quorum import Quorum
from vauban.guard.quorum.votes import Verdict, Vote

__all__ = ["Ensemble", "Manifest", "Model", "Quorum", "Verdict", "Vote", "load", "read_ensemble"]
