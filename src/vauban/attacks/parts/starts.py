"""Where attacks begin: random points of the ball, or points that answer differently, in noise that belongs to the rows."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows, per_row

Start = Literal["uniform", "clean", "output-diverse"]


def random_start(o: Oracle) -> Tensor:
    """A random point of the ball and the box.

    L-infinity: uniform in the cube. L2: uniform in the ball. L1: uniform in the ball. L0: that many random features (or pixels), uniform in
    the box; a patch: a random window, likewise.
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


def diverse_start(o: Oracle, steps: int = 2) -> Tensor:
    """A point of the ball where the scores point a random way: from a random point, steps of the radius up w.z with w uniform in (-1, 1)
    for each class, another w for each row (output-diversified initialisation, Tashiro et al. 2020, arXiv:2003.06878, algorithm 1).

    Costs `steps` questions and gradients a row. Where it leads does not depend on the scale of the scores, nor on a constant added to them.
    """
    s = o.rows(x=random_start(o), w=o.noise.uniform(o.classes).to(o.x).mul_(2).sub_(1))

    def outwards(aim: Aim, z: Tensor) -> Tensor:
        return (aim.of(s.w) * z).sum(1)

    for _ in o.steps(steps):
        _, gradient = o.ascend(s.x, outwards)
        s.x = o.project(s.x + o.steepest(gradient, s.x, o.eps))
    return s.x


def start_of(o: Oracle, start: Start) -> Tensor:
    """The clean rows, a random point around each, or one that is sent a random way."""
    if start == "clean":
        return o.x
    return random_start(o) if start == "uniform" else diverse_start(o)
