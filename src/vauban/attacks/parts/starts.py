"""Where attacks begin: random points of the ball, in noise that belongs to the rows."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row

Start = Literal["uniform", "clean"]


def random_start(o: Oracle) -> Tensor:
    """A random point of the ball and the box.

    L-infinity: uniform in the cube. L2: uniform in the ball. L1: uniform in the ball. L0: that many random features, uniform in the box.
    """
    return o.project(o.x + random_change(o, o.eps))


def random_change(o: Oracle, eps: float, *, surface: bool = False) -> Tensor:
    """A random change of norm at most `eps` (on the `surface`: of exactly that norm), before the box."""
    shape, features = o.x.shape[1:], o.x.ndim - 1
    if o.ball.p == math.inf:
        return (o.noise.sign(*shape) if surface else o.noise.uniform(*shape).mul_(2).sub_(1)) * eps
    if o.ball.p == 0:
        return _scattered(o, int(eps))
    count = math.prod(shape)
    direction = o.noise.normal(*shape) if o.ball.p == 2 else _laplace(o)
    radius = eps if surface else eps * o.noise.uniform(1)[:, 0] ** (1 / count)
    scale = radius / norms_of_rows(direction, o.ball.p, features).clamp_min(1e-30)
    return direction * per_row(scale, direction)


def _laplace(o: Oracle) -> Tensor:
    """A Laplace vector a row: over its L1 norm it is uniform on the L1 sphere."""
    shape = o.x.shape[1:]
    return o.noise.uniform(*shape).sub_(1).neg_().clamp_min_(1e-30).log_() * o.noise.sign(*shape)


def _scattered(o: Oracle, count: int) -> Tensor:
    """New values, uniform in the box, for `count` random features."""
    shape = o.x.shape[1:]
    lower, upper = o.limits
    value = lower + (upper - lower) * o.noise.uniform(*shape)
    lot = o.noise.uniform(*shape) * (upper > lower)
    chosen = o.ball.cut(lot, float(count), o.x.ndim - 1) > 0
    return (value - o.x) * chosen


def start_of(o: Oracle, start: Start) -> Tensor:
    """The clean rows, or a random point around each."""
    return o.x if start == "clean" else random_start(o)
