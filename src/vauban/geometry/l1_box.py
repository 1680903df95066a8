"""The exact projection onto an L1 ball and a box at once, which onto one after the other is not."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.geometry.body import SLACK, Body, norms_of_rows, per_row

USUAL, MOST = 8, 80
"""Rounds of the search. Nearly always the first are enough; after them one in three halves the bracket, so that all are enough for float32."""


def onto_ball_in_box(body: Body, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
    """The nearest point, in Euclidean distance, of an L1 ball around x0 within a box (Croce and Hein 2021, arXiv:2103.01208, section 2.2).

    Every change of a row shrinks by the same amount, and none goes beyond its wall. Onto the ball first and onto the box after it would
    give away the part of the radius that the box cuts off.

    Args:
        body: the ball; its radius is finite.
        x0: float (n, *shape), the clean rows, inside the box.
        x: float (..., n, *shape), the points to project.
        limits: the least and the greatest value of every feature, as `body.limits(x0)` gives them.

    Returns:
        float (..., n, *shape), inside the radius when judged in float64; rows already inside ball and box are returned as they are.
    """
    boxed, features = torch.clamp(x, *limits), x0.ndim - 1
    over = norms_of_rows(boxed - x0, 1.0, features) > body.eps * (1 - SLACK / 2)
    if not bool(over.any()):
        return boxed
    d = x - x0
    room = torch.where(d > 0, limits[1] - x0, x0 - limits[0])
    kept = shrunk(d.abs().flatten(d.ndim - features), room.flatten(d.ndim - features), body.eps * (1 - SLACK))
    # adding a change to the clean input rounds it: only features that move are rounded, and few do
    spare = body.grain(d) * norms_of_rows(kept, 0.0, 1)
    scale = ((body.eps * (1 - SLACK) - spare).clamp_min(0) / norms_of_rows(kept, 1.0, 1)).clamp_max(1)
    near = torch.clamp(x0 + (kept * scale.unsqueeze(-1)).view_as(d).copysign(d), *limits)
    return torch.where(per_row(over, x), near, boxed)


def shrunk(size: Tensor, room: Tensor, radius: float) -> Tensor:
    """min(max(size - t, 0), room), all (..., d) and 0 or more, with t of each row the least from 0 on for which that sums to at most `radius`.

    The sum falls with t in straight pieces: Newton's step from either side, kept inside the bracket (Cominetti, Mascarenhas and Silva
    2014, for the quadratic knapsack). A row that is done is left alone, so that it does not feel its batch.
    """
    low, high = size.new_zeros(size.shape[:-1]), size.amax(-1)
    t, left = low, size
    for i in range(MOST):
        excess = torch.minimum(left.clamp_min(0), room).sum(-1) - radius
        beyond, middle = excess > 0, (low + high) / 2
        done = (excess.abs() <= radius * (SLACK / 8)) | ((t == 0) & ~beyond) | (middle <= low) | (middle >= high)
        if bool(done.all()):
            break
        low, high = torch.where(beyond, t, low), torch.where(beyond, high, t)
        newton = t + excess / ((left > 0) & (left <= room)).sum(-1).clamp_min(1)
        inside = (newton > low) & (newton < high) & (i < USUAL or i % 3 > 0)
        t = torch.where(done, t, torch.where(inside, newton, (low + high) / 2))
        left = size - t.unsqueeze(-1)
    return torch.minimum(left.clamp_min(0), room)
