"""A share with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vauban.measure.exact import clopper_pearson
from vauban.measure.intervals import wilson


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of rows with its Wilson interval: hits of rows."""

    hits: int
    rows: int
    level: float = 0.95

    @property
    def value(self) -> float:
        """NaN when there is no row."""
        return self.hits / self.rows if self.rows else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.rows, self.level)

    def text(self) -> str:
        """Such as "83.0% [80.5, 85.2]"."""
        low, high = self.interval
        return f"{self.value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass(frozen=True, slots=True)
class ExactRate(Rate):
    """A share of rows with its exact interval (Clopper and Pearson), as ISO/IEC 30107-3 is reported with."""

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.hits, self.rows, self.level)
