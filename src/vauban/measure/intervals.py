"""Confidence intervals for a share of rows."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(hits: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of hits / rows (Wilson 1927, without continuity correction).

    Closed form, so that the commands that only read a record start without a statistics library.

    Args:
        hits: successes, 0 <= hits <= rows.
        rows: trials; with none, nothing is known and the interval is [0, 1].
        level: confidence level in (0, 1).

    >>> [round(v, 4) for v in wilson(830, 1000)]
    [0.8055, 0.852]
    """
    if not 0 <= hits <= rows:
        raise ValueError(f"hits = {hits} must lie between 0 and rows = {rows}")
    if rows == 0:
        return 0.0, 1.0
    z, p = NormalDist().inv_cdf(0.5 + level / 2), hits / rows
    middle, half = p + z * z / (2 * rows), z * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    low, high = (middle - half) / (1 + z * z / rows), (middle + half) / (1 + z * z / rows)
    return (0.0 if hits == 0 else low), (1.0 if hits == rows else high)
