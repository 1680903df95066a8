"""What the attacker knows, wants, may do and may spend: plain values, no torch."""

from vauban.threat.access import Access
from vauban.threat.edits import FAMILIES, Edits
from vauban.threat.exact import exact, written
from vauban.threat.features import Feature, Features
from vauban.threat.goal import Goal
from vauban.threat.norms import INF, NORMS, norm_of
from vauban.threat.perturbation import Ball, Patch, Perturbation, Transformations
from vauban.threat.threat import Threat

__all__ = [
    "FAMILIES",
    "INF",
    "NORMS",
    "Access",
    "Ball",
    "Edits",
    "Feature",
    "Features",
    "Goal",
    "Patch",
    "Perturbation",
    "Threat",
    "Transformations",
    "exact",
    "norm_of",
    "written",
]
