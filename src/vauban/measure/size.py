"""How many rows would settle a question."""

from __future__ import annotations

import math
from statistics import NormalDist


def rows_to_decide(rate: float, promise: float, level: float = 0.95, most: int = 10_000_000) -> int | None:
    """The least number of rows with which the Wilson interval of exactly `rate` no longer contains `promise`.

    The interval's ends are the shares p with n (rate - p)^2 = z^2 p (1 - p), so this is a closed form. None when the two are so close that
    not even `most` rows would do.

    >>> rows_to_decide(0.78, 0.80)
    1537
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    spread, gap = z * z * promise * (1 - promise), (rate - promise) ** 2
    return None if gap * most <= spread else math.floor(spread / gap) + 1
