"""SignHunter: the signs of the gradient by flipping ever smaller parts of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.slopes import grain
from vauban.attacks.registry import Count, attack
from vauban.doors import Oracle
from vauban.threat import INF, Access


@attack(Access.SCORE, on=("linf", "l2"), paper="Al-Dujaili and O'Reilly 2020, arXiv:1902.06894, algorithm 2")
def signhunter(o: Oracle, queries: Count = 5000, loss: LossName = "margin") -> None:
    """Flips halves, quarters, eighths ... of a sign vector, and keeps each flip that does not lower the objective.

    The point asked is the corner of the ball that the signs name (in L2, the sphere's point in their direction, put back into the box). There is
    nothing to tune and nothing drawn at random. Features are halved in their order in memory, channel by channel and line by line.
    """
    rank = _ranks(o)
    s = o.rows(up=(rank >= 0).expand(len(o), -1), value=o.x.new_full((len(o),), -INF))
    for turn, (first, after) in zip(o.steps(queries), _flips(int(rank.max()) + 1), strict=False):
        tried = s.up ^ ((rank >= first) & (rank < after)) if turn else s.up
        value = o.score(_corner(o, tried), LOSSES[loss])
        better = value >= s.value
        s.up = torch.where(better[:, None], tried, s.up)
        s.value = torch.fmax(s.value, value)


def _flips(count: int) -> Iterator[tuple[int, int]]:
    """Which of `count` signs to flip, from and up to: nothing (the start), all, then halves, and so on down to single signs; and again, from
    the signs that are there by then."""
    yield 0, 0
    while True:
        size = count
        while size:
            yield from ((first, min(first + size, count)) for first in range(0, count, size))
            size = (size + 1) // 2 if size > 1 else 0


def _ranks(o: Oracle) -> Tensor:
    """The place of every feature among those that may change, -1 for the others, int64 (features,)."""
    mask = o.ball.mask
    free = torch.ones_like(o.x[0], dtype=torch.bool) if mask is None or not bool(mask.any()) else mask
    return torch.where(free.flatten(), free.flatten().long().cumsum(0) - 1, -1)


def _corner(o: Oracle, up: Tensor) -> Tensor:
    """The points that signs name, (n, *shape), for bool (n, features)."""
    up = up.view_as(o.x)
    if o.ball.p == INF:
        return torch.where(up, o.limits[1], o.limits[0])
    return o.project(o.x + torch.where(up, grain(o), -grain(o)).to(o.x))
