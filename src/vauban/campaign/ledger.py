"""The query ledger of one threat: what was asked, what for, what it won, and how many identities that takes where questions are rationed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vauban.measure.rate import Rate


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the questions about the attacked rows came to. What was asked about a row after it fell (for a curve) is in `asked` alone.

    Attributes:
        rows: rows that were attacked.
        asked: questions on all of them.
        kinds: how many of them were to find a first success ("initial"), to learn a direction ("gradient"), to try a step ("step"), to come
            nearer to the boundary ("projection"), or to hand in a candidate ("check").
        refused: how many got no answer; they count as asked.
        queries, success: after so many questions on each row, the share of rows that had fallen.
        spent: questions up to each row's fall, or all of them where it stood, summed.
        median: questions after which half of the rows had fallen; None where half never did.
        shared: questions that a surrogate was trained with, which are no single row's; a success pays for its share of them.
        session, day: how many questions the service that is attacked lets pass in a session, and from a device in a day.
    """

    rows: int
    asked: int
    kinds: dict[str, int] = field(default_factory=dict[str, int])
    refused: int = 0
    queries: tuple[int, ...] = ()
    success: tuple[Rate, ...] = ()
    spent: int = 0
    median: int | None = None
    session: int = 5
    day: int = 10
    shared: int = 0

    @property
    def fallen(self) -> int:
        """Rows that fell."""
        return self.success[-1].hits if self.success else 0

    @property
    def mean(self) -> float:
        """Questions a row, those that stood with all that they cost."""
        return self.spent / self.rows if self.rows else math.nan

    @property
    def price(self) -> float:
        """Questions a success, failures paid for: inf where nothing fell."""
        return (self.spent + self.shared) / self.fallen if self.fallen else math.inf

    def identities(self, queries: float, per: int) -> float:
        """Identities (sessions, or device-days) that so many questions take where each may ask `per`.

        >>> Ledger(1, 0).identities(89, 5), Ledger(1, 0).identities(89, 10)
        (18, 9)
        """
        return math.inf if math.isinf(queries) else math.ceil(queries / per)
