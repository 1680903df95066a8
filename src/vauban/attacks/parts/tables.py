"""What attacks on tables share: the constraints on features, as they stand in the oracle's ball."""

from __future__ import annotations

from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.geometry.features import Tabular


def table_of(o: Oracle) -> Tabular:
    """The constraints of the threat.

    Raises:
        BadPlan: it has none: it allows something other than changes of features.
    """
    if not isinstance(o.ball, Tabular):
        raise BadPlan(f"threat {o.threat.name!r} has no constraints on features; give a Features perturbation")
    return o.ball
