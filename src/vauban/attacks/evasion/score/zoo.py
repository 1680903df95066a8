"""ZOO: Adam on a few features at a time, each with a derivative from two scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.attacks.parts.adam import B1, B2, TINY
from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.slopes import PLACES, grain
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Loss, Oracle
from vauban.threat import Access


@attack(Access.SCORE, on=("linf", "l2"), paper="Chen et al. 2017, arXiv:1708.03999, algorithms 1 and 2")
def zoo(
    o: Oracle, queries: Count = 5000, coordinates: Count = 32, reach: Positive = 0.1, step: Positive = 1.0, loss: LossName = "margin"
) -> None:
    """Coordinate-wise Adam on symmetric difference quotients of the margin.

    A step asks twice about each of `coordinates` features, which follow each other in a random order of each row's own, and once about where it
    led. `reach` and `step`, the change of one feature in a question and in a step, are shares of the change that has norm eps when made to
    all. The threat's ball takes the place of the published penalty on the norm.
    """
    purse, free = Allowance(o, queries), _free(o)
    count = min(coordinates, len(free))
    zero = torch.zeros_like(o.x).flatten(1)
    s = o.rows(x=o.x.flatten(1), m=zero, v=zero, age=zero, order=free[o.noise.uniform(len(free)).argsort(1)])
    at = 0
    for _ in purse.turns():
        if at + count > len(free):
            s.order, at = free[o.noise.uniform(len(free)).argsort(1)], 0
        place, at = s.order[:, at : at + count], at + count
        slope, known = quotients(o, purse, s.x, place, reach * grain(o), LOSSES[loss])
        age = s.age.gather(1, place) + 1
        m = torch.lerp(s.m.gather(1, place), slope, 1 - B1)
        v = torch.lerp(s.v.gather(1, place), slope.square(), 1 - B2)
        move = step * grain(o) * (m / (1 - B1**age)) / ((v / (1 - B2**age)).sqrt() + TINY)
        s.age, s.m, s.v = (_put(old, place, new, known) for old, new in ((s.age, age), (s.m, m), (s.v, v)))
        moved = _put(s.x, place, s.x.gather(1, place) + move, known)
        s.x = o.project(moved.view_as(o.x)).flatten(1)
        o.score(s.x.view_as(o.x), LOSSES[loss], purse.one())


def _free(o: Oracle) -> Tensor:
    """The features that may change, int64."""
    mask = o.ball.mask
    everywhere = torch.arange(math.prod(o.x.shape[1:]), device=o.x.device)
    return everywhere if mask is None or not bool(mask.any()) else everywhere[mask.flatten()]


def _put(old: Tensor, place: Tensor, new: Tensor, known: Tensor) -> Tensor:
    return old.scatter(1, place, torch.where(known, new, old.gather(1, place)))


def quotients(o: Oracle, purse: Allowance, x: Tensor, place: Tensor, reach: float, loss: Loss) -> tuple[Tensor, Tensor]:
    """Symmetric difference quotients at x (n, features) in the features `place` (n, k), and which of them are known, both (n, k).

    A few features at a time: the points of all of them are never there at once.
    """
    lower, upper = (t.flatten(1).gather(1, place) for t in o.limits)
    here = x.gather(1, place)
    ends = torch.stack([here + reach, here - reach]).clamp(lower, upper)
    gap = ends[0] - ends[1]
    slopes, known = [], []
    size = max(PLACES // (2 * x.shape[1]), 1)
    for part in range(0, place.shape[1], size):
        where = purse.some(len(place[0, part : part + size]), spare=1, each=2)
        points = x.expand(2, where.shape[0], *x.shape).scatter(
            3,
            place[:, part : part + size].T[None, :, :, None].expand(2, -1, -1, -1),
            ends[:, :, part : part + size].transpose(1, 2)[..., None],
        )
        value = o.score(points.view(2, where.shape[0], *o.x.shape), loss, where.expand(2, -1, -1), kind="gradient")
        rise = value[0] - value[1]
        yes = o.answered.all(0) & torch.isfinite(rise)
        slopes.append(torch.where(yes, rise, 0.0).T)
        known.append(yes.T)
    return torch.cat(slopes, 1) / gap.clamp_min(1e-30), torch.cat(known, 1) & (gap > 0)
