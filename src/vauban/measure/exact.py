"""Exact confidence intervals for a share."""

from __future__ import annotations


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
    from scipy.special import betainccinv, betaincinv  # here, so that what only reads a record starts without it

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, rows - hits + 1, tail))
    high = 1.0 if hits == rows else float(betainccinv(hits + 1, rows - hits, tail))
    return low, high
