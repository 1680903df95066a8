"""What a policy asks, and what came of asking: it holds, it is breached, or nobody can say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Held(Enum):
    """What came of one question, with the exit code it asks for."""

    HOLDS = "holds"
    BREACHED = "breached"
    UNABLE = "unable"


@dataclass(frozen=True)
class Ruling:
    """One question of a policy.

    Attributes:
        recommendation: which of the policy's recommendations it belongs to, from 1.
        question: what was asked.
        held: what came of it.
        evidence: what was seen.
    """

    recommendation: int
    question: str
    held: Held
    evidence: str

    @classmethod
    def of(cls, recommendation: int, question: str, good: bool, evidence: str) -> Ruling:
        """One that holds or is breached."""
        return cls(recommendation, question, Held.HOLDS if good else Held.BREACHED, evidence)

    @classmethod
    def unable(cls, recommendation: int, question: str, why: str) -> Ruling:
        """One that could not be looked into."""
        return cls(recommendation, question, Held.UNABLE, why)


def exit_code(rulings: Iterable[Ruling]) -> int:
    """Breached 1 before unable 2 before holds 0.

    >>> exit_code([Ruling.of(1, "?", True, ""), Ruling.unable(2, "?", "")])
    2
    """
    found = {r.held for r in rulings}
    if Held.BREACHED in found:
        return 1
    return 2 if Held.UNABLE in found or not found else 0


def verdict(rulings: Iterable[Ruling]) -> str:
    """All of them in one line.

    >>> verdict([Ruling.of(1, "?", True, ""), Ruling.unable(2, "?", "")])
    '1 holds, 0 breached, 1 cannot be told'
    """
    found = Counter(r.held for r in rulings)
    holds = found[Held.HOLDS]
    return f"{holds} {'holds' if holds == 1 else 'hold'}, {found[Held.BREACHED]} breached, {found[Held.UNABLE]} cannot be told"
