"""The limits of every value of a network: intervals, tightened by linear bounds where a bend needs them and the work is bearable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vauban.bounds.affine import Conv, Dense, Reshape, Scale
from vauban.bounds.alpha import STEPS, ancestors, optimised
from vauban.bounds.interval import Interval, Rounding, step
from vauban.bounds.linear import lowest
from vauban.bounds.ops import Bend, Op
from vauban.bounds.region import INF, Region
from vauban.bounds.windows import Window, view_of, windows_of

Level = Literal["interval", "crown", "alpha"]
"""How hard to try: intervals alone; linear bounds; linear bounds with optimised slopes."""
LEVELS: tuple[Level, ...] = ("interval", "crown", "alpha")

MEMORY = 1 << 18
"""Coefficients held at once: 2 MiB for each tensor of them, which caches like."""
WORK = 1 << 31
"""Multiplications that the linear bounds of one value may cost for one row. Where they would cost more, intervals must do."""


@torch.no_grad()
def limits_of(ops: Sequence[Op], region: Region, rounding: Rounding, level: Level) -> list[Interval]:
    """The limits of the value at every place, for inputs in the region."""
    known = [region.interval]
    done: set[int] = set()
    for op in ops:
        if isinstance(op, Bend) and op.inputs[0] not in done:
            done.add(op.inputs[0])
            known[op.inputs[0]] = _tightened(ops, known, region, op, level)
        known.append(step(op, [known[i] for i in op.inputs], rounding))
    return known


def _tightened(ops: Sequence[Op], known: list[Interval], region: Region, op: Bend, level: Level) -> Interval:
    """The limits of what a bend reads, by linear bounds where they can help: for the features that matter.

    What is tried for a row depends on that row alone, so that no row feels its batch.
    """
    place = op.inputs[0]
    path, now = ancestors(ops, place), known[place]
    if place == 0 or not _worth(ops, path, region, level):
        return now
    open_, seen = op.open(now.lo, now.hi), windows_of(ops, path)
    each = sum(work_of(ops[at - 1]) for at in path if at)
    near = INF if seen is None else work_in_windows(ops, known, seen) * now.lo[0].numel()
    work = (open_.flatten(1).sum(1) * each).clamp_max(near)
    deep = (work * STEPS <= WORK) & (level == "alpha")
    lo, hi = now.lo.clone(), now.hi.clone()
    for rows, bounder in ((deep & (work > 0), optimised), (~deep & (work > 0) & (work <= WORK), lowest)):
        if bool(rows.any()):
            task = Task(ops, [k.take(rows) for k in known], region.take(rows), place, bounder)
            lo[rows], hi[rows] = task.limits(open_[rows], seen if near < each * int(open_[rows].any(0).sum()) else None)
    return now.meet(torch.where(open_, lo, now.lo), torch.where(open_, hi, now.hi))


@dataclass(frozen=True, eq=False)
class Task:
    """Limits wanted of the features at a place, by linear bounds."""

    ops: Sequence[Op]
    known: Sequence[Interval]
    region: Region
    place: int
    bounder: Callable[[Sequence[Op], Sequence[Interval], Region, int, Tensor], Tensor]

    def limits(self, wanted: Tensor, seen: dict[int, Window] | None) -> tuple[Tensor, Tensor]:
        """Lower and upper limits of the value, (n, *shape), tightened at least for the features `wanted`."""
        return self.at_once(wanted.any(0).flatten().nonzero()[:, 0]) if seen is None else self.by_windows(wanted, seen)

    def at_once(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """For the features `wanted` (indices), each a linear function of the whole input. The others keep what is known."""
        now = self.known[self.place]
        lo, hi = now.lo.flatten(1).clone(), now.hi.flatten(1).clone()
        widest = max(self.known[at].lo[0].numel() for at in ancestors(self.ops, self.place))
        for some in wanted.split(portion(widest * len(lo))):
            a = _units(some, lo.shape[1])
            lo[:, some], hi[:, some] = self.sides(a.view(len(some), 1, *now.lo.shape[1:]))
        return lo.view_as(now.lo), hi.view_as(now.hi)

    def by_windows(self, wanted: Tensor, seen: dict[int, Window]) -> tuple[Tensor, Tensor]:
        """For the channels and places of images where a feature is `wanted` (n, c, h, w), each from its own window of the input."""
        now = self.known[self.place]
        kept = wanted.any(1).flatten()
        view = view_of(self.ops, self.known, self.region, seen, kept)
        inner = Task(view.ops, view.known, view.region, len(view.ops), self.bounder)
        shape = (now.lo.shape[1], len(now.lo), *now.lo.shape[2:])
        lo, hi = (t.transpose(0, 1).flatten(1).clone() for t in (now.lo, now.hi))
        widest = max(known.lo[0].numel() for known in view.known)
        for some in wanted.any(0).flatten(1).any(1).nonzero()[:, 0].split(portion(widest * int(kept.sum()))):
            a = _units(some, len(lo)).view(len(some), 1, -1, 1, 1)
            low, high = inner.sides(a)
            lo[some[:, None], kept], hi[some[:, None], kept] = low.T, high.T
        return lo.view(shape).transpose(0, 1), hi.view(shape).transpose(0, 1)

    def sides(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """The limits (n, s) of linear functions a (s, n or 1, *shape) of the value."""
        low, high = (self.bounder(self.ops, self.known, self.region, self.place, side) for side in (a, -a))
        return low.T, -high.T


def _units(some: Tensor, width: int) -> Tensor:
    """Unit vectors (s, width), float64, with their ones at `some`."""
    zeros = torch.zeros(len(some), width, dtype=torch.float64, device=some.device)
    return zeros.scatter(1, some[:, None], 1.0)


def _worth(ops: Sequence[Op], path: list[int], region: Region, level: Level) -> bool:
    """Whether linear bounds can be tighter than intervals: not where the value is one affine map of a box.

    Without bends on the way they are exact, and cheap; for balls other than boxes they are then taken at every level.
    """
    below = [ops[at - 1] for at in path if at]
    if any(isinstance(op, Bend) for op in below):
        return level != "interval"
    mixing = [op for op in below if not isinstance(op, Scale | Reshape)]
    if region.p == INF and len(mixing) <= 1 and (not mixing or isinstance(mixing[0], Dense | Conv)):
        return False
    return region.p != INF or level != "interval"


def work_of(op: Op) -> int:
    """Multiplications that passing one linear function back over an operation costs, memory traffic counted as such."""
    moved = 16 * math.prod(op.shape)
    if isinstance(op, Dense):
        return op.weight.numel() * math.prod(op.shape[:-1]) + moved
    if isinstance(op, Conv):
        return op.weight.numel() * math.prod(op.shape[1:]) + moved
    return moved


def work_in_windows(ops: Sequence[Op], known: Sequence[Interval], seen: dict[int, Window]) -> int:
    """The same, for one linear function that only sees its windows."""
    work = 0
    for at, window in seen.items():
        op, area = ops[at - 1] if at else None, math.prod(window.size)
        work += 16 * known[at].lo.shape[1] * area + (op.weight.numel() * area if isinstance(op, Conv) else 0)
    return work


def portion(features: int) -> int:
    """How many linear functions may be passed back at once that each have so many coefficients."""
    return max(MEMORY // features, 1)


def rows_at_once(ops: Sequence[Op], x: Tensor, level: Level) -> int:
    """How many rows to bound at once: some functions of each fit in `MEMORY`, or what intervals are made of."""
    widest = max([math.prod(op.shape) for op in ops] + [math.prod(x.shape[1:])])
    return max(MEMORY // (widest * (4 if level == "interval" else 64)), 1)
