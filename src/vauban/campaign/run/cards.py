"""The target, the data and a threat in plain values, as the record has them."""

from __future__ import annotations

import math

from vauban.campaign.plan import Plan
from vauban.campaign.record import DataCard, TargetCard, ThreatCard
from vauban.campaign.run.survey import Survey
from vauban.threat import Ball, Threat


def target_card(plan: Plan, survey: Survey | None) -> TargetCard:
    """The model that was attacked; its outputs and class count are known once it was surveyed."""
    target, names = plan.target, plan.data.classes
    count = max(survey.classes if survey else 0, len(names))
    return TargetCard(
        target.name,
        target.kind,
        target.access.name.lower(),
        survey.outputs if survey else target.outputs,
        (*names, *(f"class {c}" for c in range(len(names), count))),
        target.sha256(),
        target.parameters_count(),
        target.randomised,
        target.reject,
        str(target.device),
    )


def data_card(plan: Plan) -> DataCard:
    """The rows it was attacked on."""
    data = plan.data
    lo, hi, group = _ends(data.lo)[0], _ends(data.hi)[1], data.group_column if data.groups else ""
    return DataCard(data.name, len(data), data.shape, data.sha256, lo, hi, data.kind, group)


def threat_card(threat: Threat, plan: Plan) -> ThreatCard:
    """A threat in plain values."""
    allowed = threat.perturbation
    lo, hi = _ends(allowed.lo)[0], _ends(allowed.hi)[1]
    eps = allowed.eps
    if isinstance(allowed, Ball) and eps == math.inf:
        eps = diameter(lo, hi, allowed.norm, math.prod(plan.data.shape))
    return ThreatCard(
        threat.name,
        threat.text(),
        threat.access.name.lower(),
        allowed.kind,
        eps,
        threat.goal.text(plan.data.classes),
        threat.goal.untargeted,
        _limit(threat.queries),
        _limit(threat.gradients),
        _limit(threat.seconds),
        lo,
        hi,
    )


def diameter(lo: float, hi: float, norm: float, features: int) -> float:
    """The largest distance in a box: what "at any size" comes to, where a record needs a number.

    >>> diameter(0, 1, math.inf, 64), diameter(0, 1, 2.0, 64), diameter(0, 1, 0.0, 64)
    (1.0, 8.0, 64.0)
    """
    if norm == math.inf:
        return float(hi - lo)
    return float(features) if norm == 0 else float((hi - lo) * features ** (1 / norm))


def _limit(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(bound: float | tuple[float, ...]) -> tuple[float, float]:
    return (min(bound), max(bound)) if isinstance(bound, tuple) else (float(bound), float(bound))
