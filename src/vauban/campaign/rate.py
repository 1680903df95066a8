"""A share with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from vauban.measure import wilson


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of rows with its Wilson interval: hits of rows."""

    hits: int
    rows: int
    level: float = 0.95

    @property
    def value(self) -> float:
        """NaN when there is no row."""
        return self.hits / self.rows if self.rows else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.rows, self.level)

    def text(self) -> str:
        """Such as "83.0% [80.6, 85.2]"."""
        low, high = self.interval
        return f"{self.value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
