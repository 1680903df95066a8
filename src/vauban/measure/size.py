"""How many rows would settle a question."""

from __future__ import annotations

from vauban.measure.intervals import wilson


def rows_to_decide(rate: float, promise: float, level: float = 0.95, most: int = 10_000_000) -> int | None:
    """The least number of rows whose Wilson interval around `rate` would no longer contain `promise`.

    None when the two are so close that not even `most` rows would do.

    >>> rows_to_decide(0.78, 0.80)
    1516
    """
    def straddles(n: int) -> bool:
        low, high = wilson(round(rate * n), n, level)
        return low < promise <= high

    if straddles(most):
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if straddles(middle) else (low, middle)
    return high
