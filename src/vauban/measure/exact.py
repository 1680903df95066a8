"""Exact confidence intervals for a share, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable

HALVINGS = 60
"""Steps of bisection: the ends of an interval are right to 2^-60."""
TERMS = 10_000
"""Of the continued fraction, at most; it takes about the square root of the number of rows."""


def clopper_pearson(hits: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a share (Clopper and Pearson 1934): it holds at least as often as its level says, for few hits too.

    Args:
        hits: 0 <= hits <= rows.
        rows: trials; with none, nothing is known and the interval is [0, 1].
        level: confidence level in (0, 1).

    >>> [round(v, 4) for v in clopper_pearson(0, 150)]
    [0.0, 0.0243]
    """
    if not 0 <= hits <= rows:
        raise ValueError(f"hits = {hits} must lie between 0 and rows = {rows}")
    if not 0 < level < 1:
        raise ValueError(f"level = {level:g} must lie between 0 and 1")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _root(lambda p: incomplete_beta(p, hits, rows - hits + 1) - tail)
    high = 1.0 if hits == rows else _root(lambda p: incomplete_beta(p, hits + 1, rows - hits) - (1 - tail))
    return low, high


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of [0, 1] crosses 0, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), the chance that a Beta(a, b) number is at most x; a, b > 0.

    By the continued fraction of DLMF 8.17.22, evaluated forwards (modified Lentz), on the side of the mean where it converges fast.

    >>> round(incomplete_beta(0.3, 2, 3), 6)  # 1 - P(at most one head in four tosses)
    0.3483
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - math.log(a) - _log_beta(a, b))
    return front * _fraction(x, a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 / (1 + d1 / (1 + d2 / ...))."""
    value, c, d = 1.0, 1.0, 0.0
    for n in range(1, TERMS):
        m = n // 2
        over = (a + n - 1) * (a + n)
        term = (-(a + m) * (a + b + m) if n % 2 else m * (b - m)) * x / over
        d = 1 / (1 + term * d)
        c = 1 + term / c
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return 1 / value
