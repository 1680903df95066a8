"""`guard.toml`: what may stand in it, and how it is read."""

from vauban.guard.config.model import GuardFile
from vauban.guard.config.read import read_guard

__all__ = ["GuardFile", "read_guard"]
