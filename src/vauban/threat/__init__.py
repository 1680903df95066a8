"""What the attacker knows, wants, may do and may spend: plain values, no torch."""

from vauban.threat.access import Access
from vauban.threat.exact import exact, written
from vauban.threat.goal import Goal
from vauban.threat.perturbation import INF, NORMS, Ball, Perturbation, Transformations, norm_of
from vauban.threat.threat import Threat

__all__ = ["INF", "NORMS", "Access", "Ball", "Goal", "Perturbation", "Threat", "Transformations", "exact", "norm_of", "written"]
