"""Budgets that are too small: for anything at all, which is refused, and for one step, which is told."""

from __future__ import annotations

from collections.abc import Sequence

from vauban.attacks import Attack
from vauban.errors import BadPlan
from vauban.target import Surrogate
from vauban.threat import Access, Threat

STEP = 2
"""Questions that one step takes: where it starts, and whether it has led there."""


def check_budget(threat: Threat, attacks: Sequence[Attack], surrogate: Surrogate | None) -> None:
    """Refuse a budget with which an attack cannot act at all: nothing would be tried, and every row would seem to withstand it.

    Proofs may have none: what they prove they compute.

    Raises:
        BadPlan: no input may be answered, or none of the target's gradients taken that an attack needs.
    """
    acting = [a for a in attacks if not a.facts.proof]
    if acting and threat.queries < 1:
        raise BadPlan(
            f"threat {threat.name!r}: queries = 0 lets no input be answered, so that no attack can win; give at least 1, or leave it out for no limit"
        )
    for attack in acting:
        if attack.queries < 1:
            raise BadPlan(
                f"attack {attack.name!r}: queries = 0 lets it ask nothing; give at least 1, or leave it out for all that the threat has"
            )
        if threat.gradients < 1 and _takes_gradients(attack, surrogate):
            raise BadPlan(
                f"threat {threat.name!r}: gradients = 0, and attack {attack.name!r} takes gradients of the target; give at least 1, name a "
                'surrogate to take them from, or say access = "score"'
            )


def too_small(threat: Threat, attacks: Sequence[Attack], surrogate: Surrogate | None) -> str:
    """Why no attack that looks for its way by asking the target can take one step; empty where one can, or none would."""
    asking = [a for a in attacks if not (a.facts.proof or a.facts.baseline or a.facts.access == Access.NONE)]
    asking = [a for a in asking if a.facts.access < Access.GRADIENT or _takes_gradients(a, surrogate)]
    most = max((min(threat.queries, a.queries) for a in asking), default=STEP)
    if most >= STEP:
        return ""
    return f"{most:g} query a row is too few for one step of {', '.join(sorted({a.name for a in asking}))}, which take at least {STEP}"


def _takes_gradients(attack: Attack, surrogate: Surrogate | None) -> bool:
    """Whether it spends the threat's gradients: those of a surrogate of the attacker's own cost none."""
    return attack.facts.access >= Access.GRADIENT and (surrogate is None or surrogate.access >= Access.GRADIENT)
