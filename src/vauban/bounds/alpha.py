"""The slopes of the lower lines, optimised (alpha-CROWN; Xu et al. 2021, arXiv:2011.13824)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vauban.bounds.bends import Relu
from vauban.bounds.interval import Interval
from vauban.bounds.linear import Slopes, lowest
from vauban.bounds.ops import Op
from vauban.bounds.region import Region

STEPS = 10
RATE = 0.5
DECAY = 0.85


def optimised(ops: Sequence[Op], known: Sequence[Interval], region: Region, place: int, a: Tensor) -> Tensor:
    """`lowest`, raised by Adam over the slopes, each function and row with slopes of its own; never below `lowest`.

    Any slopes in [0, 1] give a bound, so that the best one seen is kept and nothing need converge.
    """
    best = lowest(ops, known, region, place, a)
    slopes = _start(ops, known, place, a)
    if not slopes:
        return best
    optimiser = torch.optim.Adam(list(slopes.values()), lr=RATE)
    for _ in range(STEPS):
        with torch.enable_grad():
            bound = lowest(ops, known, region, place, a, slopes)
            (-bound.sum()).backward()
        best = torch.maximum(best, bound.detach())
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] *= DECAY
        for slope in slopes.values():
            slope.data.clamp_(0, 1)
    with torch.no_grad():
        return torch.maximum(best, lowest(ops, known, region, place, a, slopes))


def _start(ops: Sequence[Op], known: Sequence[Interval], place: int, a: Tensor) -> Slopes:
    """The adaptive slopes of every ReLU below the place that can be on and off."""
    slopes: Slopes = {}
    for at in ancestors(ops, place):
        op = ops[at - 1] if at else None
        if isinstance(op, Relu):
            limits = known[op.inputs[0]]
            if bool(op.open(limits.lo, limits.hi).any()):
                nearer = (limits.hi > -limits.lo).to(a.dtype)
                slopes[at] = nearer.expand(a.shape[0], *nearer.shape).clone().requires_grad_()
    return slopes


def ancestors(ops: Sequence[Op], place: int) -> list[int]:
    """The places that a place is computed from, itself included, in rising order."""
    found = {place}
    for at in range(place, 0, -1):
        if at in found:
            found.update(ops[at - 1].inputs)
    return sorted(found)
