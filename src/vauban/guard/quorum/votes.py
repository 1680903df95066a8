"""Votes, and what they come to: a vote that is missing counts as one against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

STEPS = 8
"""Steps of a quantised score in one unit of log-odds."""
Way = Literal["unanimous", "majority"]


@dataclass(frozen=True)
class Vote:
    """What one model said to one picture.

    Attributes:
        model: its name.
        score: log-odds of "live" above the model's threshold; None where there is none: not finite, late, failed.
        accept: whether it says "accept"; None where there is no score.
        why: what happened where there is none.
    """

    model: str
    score: float | None
    accept: bool | None
    why: str = ""

    @property
    def quantised(self) -> int | None:
        """The score as it is stored: eighths of a unit in -127 to 127, 0 at the threshold; the sign is that of the vote.

        >>> [Vote("a", s, s > 0).quantised for s in (0.001, -0.001, 1.0, 99.0, -99.0)]
        [1, -1, 8, 127, -127]
        """
        if self.score is None:
            return None
        away = min(127, max(1, round(abs(self.score) * STEPS)))
        return away if self.accept else -away


@dataclass(frozen=True)
class Verdict:
    """What a quorum says.

    Attributes:
        accept: never true where one that was asked has not answered and could have prevented it.
        votes: of every model that was asked, in the ensemble's order.
        ensemble: its id.
    """

    accept: bool
    votes: tuple[Vote, ...]
    ensemble: str = ""

    @property
    def split(self) -> bool:
        """Whether some accept and some do not."""
        return len({v.accept for v in self.votes if v.accept is not None}) > 1

    @property
    def missing(self) -> tuple[str, ...]:
        """The models that did not answer."""
        return tuple(v.model for v in self.votes if v.accept is None)

    @property
    def scores(self) -> dict[str, int | None]:
        """The quantised score of each model."""
        return {v.model: v.quantised for v in self.votes}


def accepted(votes: Sequence[Vote], way: Way, members: int) -> bool:
    """Whether votes come to "accept".

    Args:
        votes: of the models that were asked: those in service.
        way: "unanimous": every one that was asked. "majority": more than half of all members, in service or not.
        members: how many models the ensemble has.

    >>> yes, no, none = Vote("a", 1.0, True), Vote("b", -1.0, False), Vote("c", None, None)
    >>> [accepted(v, "majority", 3) for v in ([yes, yes, none], [yes, none, none], [yes, yes, no])]
    [True, False, True]
    >>> [accepted(v, "unanimous", 3) for v in ([yes, yes, none], [yes, yes], [])]
    [False, True, False]
    """
    for_it = sum(v.accept is True for v in votes)
    if way == "unanimous":
        return bool(votes) and for_it == len(votes)
    return 2 * for_it > members
