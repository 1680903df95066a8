"""The way from the clean input to one that fools, and the search for the boundary on it, every row at its own pace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF


def size_of(o: Oracle, d: Tensor) -> Tensor:
    """The norm of changes (..., n, *shape) in the threat's norm, (..., n)."""
    return norms_of_rows(d, o.ball.p, o.x.ndim - 1)


def between(o: Oracle, end: Tensor, share: Tensor) -> Tensor:
    """The point at a share (n,) of the size of the change that leads to `end` (n, *shape): 0 is the clean input, 1 is `end`, as it is.

    In L2 and L1 a point of the straight line, in L-infinity the change cut off at that size (Chen et al. 2020, arXiv:1904.02144, section 4).
    """
    d = end - o.x
    part = per_row(share.to(d.dtype), d)
    if o.ball.p == INF:
        most = per_row(size_of(o, d), d) * part
        cut = torch.minimum(torch.maximum(d, -most), most)
    else:
        cut = d * part
    return torch.where(part >= 1, end, o.x + cut).clamp(*o.limits)


def rounds(tolerance: float) -> int:
    """How many questions halve 1 down to the tolerance.

    >>> rounds(1e-3), rounds(0.5)
    (10, 1)
    """
    return max(math.ceil(math.log2(1 / tolerance)), 1)


def halved(low: Tensor, high: Tensor, won: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """The bracket (low, high) of each row after the answer about its middle; `high` always fools. Rows outside `where` keep theirs."""
    middle = (low + high) / 2
    return torch.where(where & ~won, middle, low), torch.where(where & won, middle, high)


def to_boundary(o: Oracle, end: Tensor, tolerance: float) -> Tensor:
    """The points nearest to the boundary, on the adversarial side, on the ways to `end` (n, *shape), which fools: a search of
    `rounds(tolerance)` questions a row. Their sizes are exact to `tolerance`, as a share of that of `end`.
    """
    s = o.rows(end=end, low=end.new_zeros(len(end)), high=end.new_ones(len(end)))
    for _ in o.steps(rounds(tolerance)):
        won = o.fooled(between(o, s.end, (s.low + s.high) / 2), kind="projection")
        s.low, s.high = halved(s.low, s.high, won, torch.ones_like(won))
    return between(o, s.end, s.high)
