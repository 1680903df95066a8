"""Slopes of an objective from its values alone: differences between a point and points near it, a few probes at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vauban.attacks.parts.allowance import Allowance
from vauban.doors import Loss, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF

PLACES = 1 << 13
"""Features of one row in the points that are asked at once. It bounds the memory however many probes there are; and since rows settle between
two calls, it must not depend on how many rows there are."""

Draw = Callable[[], Tensor]
"""A direction for each row, float (n, *shape)."""


def features(o: Oracle) -> int:
    """How many features may change."""
    mask = o.ball.mask
    return math.prod(o.x.shape[1:]) if mask is None else max(int(mask.sum()), 1)


def grain(o: Oracle) -> float:
    """The change of each feature that, made to all of them, has norm eps: eps itself in L-infinity, eps / sqrt(features) in L2."""
    return o.eps if o.ball.p == INF else o.eps / math.sqrt(features(o))


def unit(d: Tensor) -> Tensor:
    """Each row over its L2 norm; zero rows stay zero."""
    return d / per_row(norms_of_rows(d, 2.0, d.ndim - 1).clamp_min(1e-30), d)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each row, (n,)."""
    return (a * b).flatten(1).sum(1)


def two_sided(o: Oracle, purse: Allowance, x: Tensor, draw: Draw, probes: int, reach: float, loss: Loss) -> Tensor:
    """The mean over `probes` directions u of (f(x + reach u) - f(x - reach u)) / (2 reach) times u, float (n, *shape).

    Points beyond the ball or the box are put back into them, and u is what is left of the direction; so every probe is also a candidate. Two
    questions a probe; where fewer are left, one is kept for the step, and the mean is over what was answered; zero where nothing was.
    """
    total, used = torch.zeros_like(x), x.new_zeros(len(x))
    for where in _parts(o, purse, probes, 2):
        change = reach * torch.stack([draw() for _ in where])
        ends = o.project(torch.stack([x + change, x - change], 1))
        value = o.score(ends, loss, where[:, None].expand(-1, 2, -1), kind="gradient")
        rise = (value[:, 0] - value[:, 1]) / (2 * reach)
        known = o.answered.all(1) & torch.isfinite(rise)
        total = total + _weighted(rise, known, (ends[:, 0] - ends[:, 1]) / (2 * reach))
        used = used + known.sum(0)
    return total / per_row(used.clamp_min(1), total)


def one_sided(
    o: Oracle, purse: Allowance, x: Tensor, value: Tensor, draw: Draw, probes: int, reach: float, loss: Loss, *, asked: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The mean over `probes` directions u of (f(x + reach u) - value) / reach times u, float (n, *shape), and of the square of that quotient,
    float (n,). One question a probe, for the rows `asked`, bool (n,); the rest as in `two_sided`."""
    total, power, used = torch.zeros_like(x), x.new_zeros(len(x)), x.new_zeros(len(x))
    for where in _parts(o, purse, probes, 1, asked):
        ends = o.project(x + reach * torch.stack([draw() for _ in where]))
        rise = (o.score(ends, loss, where, kind="gradient") - value) / reach
        known = o.answered & torch.isfinite(rise)
        total = total + _weighted(rise, known, (ends - x) / reach)
        power = power + torch.where(known, rise, 0.0).square().sum(0)
        used = used + known.sum(0)
    return total / per_row(used.clamp_min(1), total), power / used.clamp_min(1)


def _parts(o: Oracle, purse: Allowance, probes: int, each: int, asked: Tensor | None = None) -> Iterator[Tensor]:
    """Which rows ask which probes, a few probes at a time: bool (k, n)."""
    size = max(PLACES // (each * math.prod(o.x.shape[1:])), 1)
    for first in range(0, probes, size):
        yield purse.some(min(size, probes - first), spare=1, each=each, among=asked)


def _weighted(rise: Tensor, known: Tensor, directions: Tensor) -> Tensor:
    """The sum over probes of their directions (k, n, *shape) times what the objective rises along them (k, n), where that is known."""
    return (per_row(torch.where(known, rise, 0.0), directions) * directions).sum(0)
