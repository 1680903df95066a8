"""Linear bounds of a convolutional layer's outputs, each from its own window of the layers below.

An output of a convolution sees a small part of the input. Seen through its window, it is the output of a small network whose convolutions
have no zeros around, and the networks of all places are alike: they differ only in the limits of their values, and in what lies outside the
image, which a mask keeps at 0. So places become rows of a batch, and `lowest` does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.bounds.affine import Conv, Exact, Join, Scale, Sum
from vauban.bounds.bends import MaxPool
from vauban.bounds.interval import Interval
from vauban.bounds.ops import Bend, Op, Pair, Shape
from vauban.bounds.region import Region


@dataclass(frozen=True)
class Window:
    """What the output at (i, j) sees of a value: `size` features each way, from (i, j) * stride - before."""

    size: Pair
    stride: Pair
    before: Pair

    def grown(self, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Window:
        """What it sees of the value that a sliding kernel makes this one of."""
        size = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(self.size, stride, dilation, kernel, strict=True)]
        step = [a * b for a, b in zip(self.stride, stride, strict=True)]
        before = [b * s + p for b, s, p in zip(self.before, stride, padding, strict=True)]
        return Window(_two(size), _two(step), _two(before))

    def joined(self, other: Window) -> Window:
        """The smallest window that holds both."""
        before = [max(pair) for pair in zip(self.before, other.before, strict=True)]
        ends = [max(n - b, m - c) for n, b, m, c in zip(self.size, self.before, other.size, other.before, strict=True)]
        return Window(_two([b + e for b, e in zip(before, ends, strict=True)]), self.stride, _two(before))

    def cut(self, t: Tensor, places: Pair) -> Tensor:
        """The windows of (n, c, h, w) for outputs at `places`, zeros outside: (n * places, c, *size)."""
        ends = [
            (out - 1) * s + n - b - length
            for out, s, n, b, length in zip(places, self.stride, self.size, self.before, t.shape[2:], strict=True)
        ]
        around = F.pad(t, (self.before[1], ends[1], self.before[0], ends[0]))
        found = F.unfold(around, self.size, stride=self.stride)
        return found.view(len(t), t.shape[1], *self.size, -1).movedim(-1, 1).reshape(-1, t.shape[1], *self.size)


@dataclass(frozen=True, eq=False)
class Mask(Exact):
    """Zero outside the image: features times 0 or 1, (n, 1, *size); exact."""

    inside: Tensor

    def __call__(self, *x: Tensor) -> Tensor:
        return x[0] * self.inside

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        return (a * self.inside,)


@dataclass(frozen=True, eq=False)
class Crop(Exact):
    """The part of a window that starts at `start`; exact."""

    start: Pair
    before: Shape

    def __call__(self, *x: Tensor) -> Tensor:
        (top, left), (height, width) = self.start, self.shape[1:]
        return x[0][:, :, top : top + height, left : left + width]

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        (top, left), (height, width) = self.start, self.shape[1:]
        return (F.pad(a, (left, self.before[2] - left - width, top, self.before[1] - top - height)),)


def windows_of(ops: Sequence[Op], path: Sequence[int]) -> dict[int, Window] | None:
    """What an output at the last place of a path sees of each place on it; None where an operation on it has no windows."""
    place = path[-1]
    if not all(_local(ops[at - 1]) for at in path if at):
        return None
    seen = {place: Window((1, 1), (1, 1), (0, 0))}
    for at in reversed([at for at in path if at]):
        op, here = ops[at - 1], seen[at]
        below = here.grown(*_kernel(op)) if isinstance(op, Conv | MaxPool) else here
        for source in op.inputs:
            seen[source] = below.joined(seen[source]) if source in seen else below
    return seen


def _local(op: Op) -> bool:
    if len(op.shape) != 3 or (isinstance(op, MaxPool) and (op.padding != (0, 0) or op.ceil)):
        return False
    if isinstance(op, Join):
        return op.dim == 0
    same_everywhere = isinstance(op, Scale) and all(t.ndim == 0 or t.shape[1:] == (1, 1) for t in (op.scale, op.shift))
    return same_everywhere or isinstance(op, Conv | Sum | Bend)


def _kernel(op: Conv | MaxPool) -> tuple[Pair, Pair, Pair, Pair]:
    kernel = _two(op.weight.shape[2:]) if isinstance(op, Conv) else op.kernel
    return kernel, op.stride, op.padding, op.dilation


@dataclass(frozen=True, eq=False)
class View:
    """A network seen through the windows of its outputs, as `lowest` takes it: its rows are pairs of a row and a place."""

    ops: list[Op]
    known: list[Interval]
    region: Region


def view_of(ops: Sequence[Op], known: Sequence[Interval], region: Region, seen: dict[int, Window], kept: Tensor) -> View:
    """The outputs at the last place seen, for the pairs of row and place that are `kept`, bool (rows * places,)."""
    return Viewer(ops, known, seen, kept).view(region)


class Viewer:
    """Writes the operations of a view, one after the other."""

    def __init__(self, ops: Sequence[Op], known: Sequence[Interval], seen: dict[int, Window], kept: Tensor) -> None:
        self.ops, self.known, self.seen, self.kept = ops, known, seen, kept
        self.places = _two(known[max(seen)].lo.shape[2:])
        self.written: list[Op] = []
        self.found: list[Interval] = []
        self.place_of: dict[int, int] = {}

    def view(self, region: Region) -> View:
        """All of it."""
        for at in sorted(self.seen):
            self._place(at)
        clean, eps = self._cut(region.x, 0), region.eps.repeat_interleave(math.prod(self.places))[self.kept]
        return View(self.written, self.found, Region(clean, self.found[0].lo, self.found[0].hi, region.p, eps))

    def _cut(self, t: Tensor, at: int) -> Tensor:
        return self.seen[at].cut(t, self.places)[self.kept]

    def _place(self, at: int) -> None:
        now = self.known[at]
        limits = Interval(self._cut(now.lo, at), self._cut(now.hi, at), None if now.slack is None else self._cut(now.slack, at))
        if at == 0:
            self.found.append(limits)
            self.place_of[0] = 0
            return
        op, shape = self.ops[at - 1], tuple(limits.lo.shape[1:])
        self.place_of[at] = self._write(self._bare(op, self.seen[at], shape), limits)
        inside = self._cut(torch.ones_like(now.lo[:, :1]), at)
        if not bool(inside.all()):
            mask = Mask((self.place_of[at],), shape, "window", inside)
            self.place_of[at] = self._write(mask, Interval(limits.lo, limits.hi))

    def _bare(self, op: Op, window: Window, shape: Shape) -> Op:
        """The operation on windows: without zeros around."""
        if not isinstance(op, Conv | MaxPool):
            return replace(op, inputs=tuple(self._source(i, window) for i in op.inputs), shape=shape)
        wanted = window.grown(*_kernel(op))
        inputs, before = (self._source(op.inputs[0], wanted),), (op.before[0], *wanted.size)
        return replace(op, inputs=inputs, shape=shape, padding=(0, 0), before=before)

    def _source(self, at: int, wanted: Window) -> int:
        """The place of the view that holds a value in the window that is wanted of it."""
        seen, place = self.seen[at], self.place_of[at]
        if seen == wanted:
            return place
        start, whole = _two([a - b for a, b in zip(seen.before, wanted.before, strict=True)]), self.found[place]
        crop = Crop((place,), (whole.lo.shape[1], *wanted.size), "window", start, tuple(whole.lo.shape[1:]))
        return self._write(crop, Interval(crop(whole.lo), crop(whole.hi)))

    def _write(self, op: Op, limits: Interval) -> int:
        self.written.append(op)
        self.found.append(limits)
        return len(self.written)


def _two(values: Sequence[int]) -> Pair:
    return values[0], values[1]
