"""The target, the data and a threat in plain values, as the record has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vauban.campaign.cards import DataCard, DefenceCard, TargetCard, ThreatCard
from vauban.campaign.plan import Plan
from vauban.campaign.run.survey import Survey
from vauban.geometry import space_of
from vauban.target.around import worn_by
from vauban.threat import Threat


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
        tuple(DefenceCard(w.name, plain(w.settings), w.family, w.claims, w.adaptive, w.paper) for w in worn_by(target)),
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
    body = space_of(allowed, plan.data.x[:1]).body
    return ThreatCard(
        threat.name,
        threat.text(),
        threat.access.name.lower(),
        allowed.kind,
        allowed.eps,
        threat.goal.text(plan.data.classes),
        threat.goal.untargeted,
        _limit(threat.queries),
        _limit(threat.gradients),
        _limit(threat.seconds),
        lo,
        hi,
        allowed.text(),
        body.tolerance,
    )


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON can hold them."""
    return {k: _plain(v) for k, v in settings.items()}


def _plain(value: Any) -> Any:
    """A setting as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _limit(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(bound: float | tuple[float, ...]) -> tuple[float, float]:
    return (min(bound), max(bound)) if isinstance(bound, tuple) else (float(bound), float(bound))
