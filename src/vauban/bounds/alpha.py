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


@torch.no_grad()
def optimised(ops: Sequence[Op], known: Sequence[Interval], region: Region, place: int, a: Tensor) -> Tensor:
    """`lowest`, raised by Adam over the slopes, each function and row with slopes of its own; never below `lowest`.

    Any slopes in [0, 1] give a bound, so that the best one seen is kept and nothing need converge.
    """
    best = lowest(ops, known, region, place, a)
    slopes = _start(ops, known, place, a)
    adams = {at: Adam(slope) for at, slope in slopes.items()}
    for turn in range(STEPS if slopes else 0):
        with torch.enable_grad():
            for slope in slopes.values():
                slope.requires_grad_()
            bound = lowest(ops, known, region, place, a, slopes)
            gradients = torch.autograd.grad(bound.sum(), list(slopes.values()))
        best = torch.maximum(best, bound.detach())
        rate = RATE * DECAY**turn
        slopes = {at: adams[at].step(g, rate) for at, g in zip(slopes, gradients, strict=True)}
    return torch.maximum(best, lowest(ops, known, region, place, a, slopes))


class Adam:
    """Ascent of values in [0, 1] by Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1)."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.turn = values, 0
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, gradient: Tensor, rate: float) -> Tensor:
        """The values after one step."""
        self.turn += 1
        self.first = torch.lerp(self.first, gradient, 0.1)
        self.second = torch.lerp(self.second, gradient.square(), 0.001)
        size = (self.second / (1 - 0.999**self.turn)).sqrt() + 1e-12
        self.values = (self.values.detach() + rate / (1 - 0.9**self.turn) * self.first / size).clamp(0, 1)
        return self.values


def _start(ops: Sequence[Op], known: Sequence[Interval], place: int, a: Tensor) -> Slopes:
    """The adaptive slopes of every ReLU below the place that can be on and off."""
    slopes: Slopes = {}
    for at in ancestors(ops, place):
        op = ops[at - 1] if at else None
        if isinstance(op, Relu):
            limits = known[op.inputs[0]]
            if bool(op.open(limits.lo, limits.hi).any()):
                nearer = (limits.hi > -limits.lo).to(a.dtype)
                slopes[at] = nearer.expand(a.shape[0], *nearer.shape).clone()
    return slopes


def ancestors(ops: Sequence[Op], place: int) -> list[int]:
    """The places that a place is computed from, itself included, in rising order."""
    found = {place}
    for at in range(place, 0, -1):
        if at in found:
            found.update(ops[at - 1].inputs)
    return sorted(found)
