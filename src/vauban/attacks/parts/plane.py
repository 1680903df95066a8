"""The smallest change that takes points of a box onto a plane, in L-infinity, L2 and L1: exact, and without sorting all features."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.threat import INF

TINY = 1e-30
SHARE = 64
"""In L1 one feature in so many is looked at first: picking few of many costs a twentieth of sorting all."""


def onto_plane(x: Tensor, w: Tensor, lack: Tensor, limits: tuple[Tensor, Tensor], p: float) -> Tensor:
    """The change of least Lp norm that raises <w, x> by `lack` and stays in the box (the step of FAB, Croce and Hein 2020,
    arXiv:1907.02044, which solves it by sorting).

    Where the plane misses the box, the change leads to the corner that is nearest to the plane.

    Args:
        x: float (*lead, n, d), points inside the box; leading dimensions are several points for one plane.
        w: float (n, d), the normal of each row's plane; a row of zeros changes nothing.
        lack: float (*lead, n), of either sign; NaN changes nothing.
        limits: the least and the greatest value of every feature, (n, d) each.
        p: inf, 2 or 1.

    Returns:
        float (*lead, n, d). Added to x it is inside the box up to the rounding of that sum.
    """
    gain = w.abs()
    scale = gain.amax(1).clamp_min(TINY)
    gain, lack = gain / scale[:, None], (lack / scale).nan_to_num(0.0)
    towards, middle = lack.sign()[..., None] * w.sign(), (limits[0] + limits[1]) / 2
    room = torch.addcmul(middle, limits[1] - middle, towards).sub_(x).abs_()
    if p == 1:
        return _steepest_first(gain, room, lack.abs()) * towards
    if p == INF:
        return torch.minimum(room, _level(room, gain, gain * room, lack.abs())) * towards
    return torch.minimum(room, _level(room / gain, gain.square(), gain * room, lack.abs()) * gain) * towards


def _level(until: Tensor, gain: Tensor, most: Tensor, need: Tensor) -> Tensor:
    """The level (*lead, n, 1) at which what all features give is `need`: each gives level x gain, and `most` once the level is `until`.

    What is given is concave in the level and made of straight pieces: Newton's method from 0 never goes beyond the solution, and has it
    exactly once no further feature fills up. Two or three rounds are usual; a row that is done does not move while others go on.
    """
    total = most.sum(-1)
    full, need = need >= total, torch.minimum(need, total)
    marked = torch.empty_like(until)
    slope = (gain * torch.gt(until, 0.0, out=marked)).sum(-1)
    level = (need / slope.clamp_min(TINY)).masked_fill_(full, torch.finfo(until.dtype).max).unsqueeze(-1)
    for _ in range(until.shape[-1]):
        # summed over what is left, not taken from the sum over all: where little is left, rounding would be most of the difference
        before, slope = slope, (gain * torch.gt(until, level, out=marked)).sum(-1)
        if torch.equal(before, slope):
            break
        further = (need - (most * torch.le(until, level, out=marked)).sum(-1)) / slope.clamp_min(TINY)
        level = torch.maximum(level, further.unsqueeze(-1))
    return level


def _steepest_first(gain: Tensor, room: Tensor, need: Tensor, share: int = SHARE) -> Tensor:
    """How far each feature goes (*lead, n, d) so that all together give `need`: those of the greatest gain, each as far as there is room.

    Few features usually do, so a share of them is sorted; rows for which that is not enough are done again with more, each by itself.
    """
    top, index = gain.topk(max(gain.shape[-1] // share, 1), dim=-1)
    index = index.expand(*need.shape, -1)
    space = room.gather(-1, index)
    given = (top * space).cumsum(-1)
    moved = torch.minimum(space, (need.unsqueeze(-1) - given + top * space).clamp_min_(0) / top.clamp_min(TINY))
    out = torch.zeros_like(room).scatter_(-1, index, moved)
    more = (given[..., -1] < need).view(-1, len(gain)).any(0)
    if share == 1 or not bool(more.any()):
        return out
    out[..., more, :] = _steepest_first(gain[more], room[..., more, :], need[..., more], max(share // 8, 1))
    return out
