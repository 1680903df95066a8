"""Linear bounds, propagated backwards from a linear function of a value to the input (CROWN; Zhang et al. 2018, arXiv:1811.00866)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vauban.bounds.interval import Interval
from vauban.bounds.ops import Affine, Bend, Op
from vauban.bounds.region import Region, lowest_in_box
from vauban.bounds.relax import dot

Slopes = dict[int, Tensor]
"""For the place that a ReLU writes: the slopes of its lower lines, in [0, 1], (s, n, *shape)."""


def lowest(
    ops: Sequence[Op],
    known: Sequence[Interval],
    region: Region,
    place: int,
    a: Tensor,
    slopes: Slopes | None = None,
    *,
    through: bool = True,
) -> Tensor:
    """A lower bound (s, n) of the linear functions a (s, n or 1, *shape) of the value at a place, over the region.

    The value is taken as the deployed model computes it: the slack of every operation is charged (see `vauban.bounds.interval`).

    Args:
        known: the limits of every place up to this one.
        slopes: of the lower lines of ReLUs; by default the adaptive ones.
        through: whether to go on through bends to the input; else it stops at the first ones and takes the limits known there.
    """
    waiting: dict[int, Tensor] = {place: a}
    bound = a.new_zeros(a.shape[:2])
    for at in range(place, 0, -1):
        if at not in waiting:
            continue
        here, op, slack = waiting.pop(at), ops[at - 1], known[at].slack
        if isinstance(op, Bend) and not through:
            bound = bound + lowest_in_box(here, known[at])
            continue
        constant, parts = _back(op, known, here, (slopes or {}).get(at))
        bound = bound + constant if slack is None else bound + constant - dot(here.abs(), slack)
        for source, part in zip(op.inputs, parts, strict=True):
            waiting[source] = waiting[source] + part if source in waiting else part
    return bound + region.lowest(waiting[0]) if 0 in waiting else bound


def _back(op: Op, known: Sequence[Interval], a: Tensor, slope: Tensor | None) -> tuple[Tensor | float, tuple[Tensor, ...]]:
    """One step: a constant, and the coefficients of each of the operation's inputs."""
    if isinstance(op, Affine):
        return op.offset(a), op.back(a)
    if not isinstance(op, Bend):
        raise TypeError(f"{type(op).__name__} is neither affine nor a bend")
    limits = known[op.inputs[0]]
    part, constant = op.relax(limits.lo, limits.hi, slope).back(a)
    return constant, (part,)
