"""What our own attacks needed: questions to break a share of the rows, from the record of an audit, and the days that leaves an ensemble."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vauban.campaign.record import Finding
from vauban.errors import BadGuard


@dataclass(frozen=True)
class Cost:
    """What breaking cost.

    Attributes:
        questions: about one row, by when the share was broken; where it never was, all that were asked, which is less than it costs.
        reached: whether the share was broken.
        broken, rows: how many rows were, of how many.
    """

    questions: int
    reached: bool
    broken: int
    rows: int


def attack_cost(finding: Finding, share: float = 0.1) -> Cost:
    """Questions after which the best attacks of a threat had broken a share of the rows they attacked.

    Each row counts with the questions of the attack that broke it alone: an attacker who knows which attack works asks no other.

    Args:
        share: of the rows, in (0, 1].

    Raises:
        BadGuard: the share is none, or nothing was attacked with questions.
    """
    if not 0 < share <= 1:
        raise BadGuard(f"share = {share:g} must lie in (0, 1]")
    asked = sum(a.most for a in finding.attacks)
    rows = finding.robust.rows
    if not asked or not rows:
        raise BadGuard(f"threat {finding.name!r}: nothing was asked; audit it with an attack that asks")
    first = sorted(q for a in finding.attacks for q in a.first)
    wanted = math.ceil(share * rows)
    if len(first) < wanted:
        return Cost(asked, False, len(first), rows)
    return Cost(max(1, first[wanted - 1]), True, len(first), rows)
