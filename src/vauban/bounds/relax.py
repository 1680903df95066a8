"""Straight lines below and above a bend between two limits, and how coefficients pass back through them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

HALVINGS = 30
Function = Callable[[Tensor], Tensor]


class Relaxation(Protocol):
    """Lower and upper lines of a bend."""

    def back(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """For coefficients a (s, n, *output): coefficients (s, n, *input) and constants (s, n) that bound a.output from below."""
        ...


def dot(a: Tensor, b: Tensor) -> Tensor:
    """a.b of coefficients (s, n or 1, *shape) and rows (n or 1, *shape): (s, n)."""
    return torch.einsum("snf,nf->sn", a.flatten(2), b.flatten(1))


@dataclass(frozen=True, eq=False)
class Lines:
    """Feature by feature: low_slope x + low_start <= f(x) <= high_slope x + high_start. Each (n, *shape); slopes also (s, n, *shape)."""

    low_slope: Tensor
    low_start: Tensor
    high_slope: Tensor
    high_start: Tensor

    def back(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Positive coefficients take the lower line and negative ones the upper: with the mean of the two and half their difference, each
        coefficient is read once, not once for each sign."""
        size = a.abs()
        mean, half = (self.low_slope + self.high_slope) / 2, (self.low_slope - self.high_slope) / 2
        through = torch.addcmul(a * mean, size, half)
        middle, spread = (self.low_start + self.high_start) / 2, (self.low_start - self.high_start) / 2
        return through, dot(a, middle) + dot(size, spread)


@dataclass(frozen=True, eq=False)
class Picks:
    """For each window: at least the feature `pick`; at most that feature where `sure`, else the constant `most`. Each (n, *output)."""

    pick: Tensor
    sure: Tensor
    most: Tensor
    before: tuple[int, ...]

    def back(self, a: Tensor) -> tuple[Tensor, Tensor]:
        kept = torch.where(self.sure, a, a.clamp_min(0))
        where = self.pick.flatten(2).expand(*kept.shape[:2], *self.pick.flatten(2).shape[1:])
        spread = kept.new_zeros(*kept.shape[:2], self.before[0], math.prod(self.before[1:])).scatter_add(3, where, kept.flatten(3))
        return spread.view(*kept.shape[:2], *self.before), dot(a - kept, self.most)


def chord_of_relu(lo: Tensor, hi: Tensor, leak: float, slope: Tensor | None) -> Lines:
    """A (leaky) ReLU on [lo, hi]: itself where the sign is known; elsewhere below a line through 0, above the chord.

    Zhang et al. 2018, arXiv:1811.00866, table 2. The lower line may have any slope in [leak, 1]: the nearer of the two ends by area
    (their section 3.3, "adaptive"), or leak + (1 - leak) * `slope` where that is given (Xu et al. 2021, arXiv:2011.13824).
    """
    on, off = lo >= 0, hi <= 0
    leaks = torch.full_like(lo, leak)  # a bare number would be a float32 in `where`
    known = leaks.masked_fill(on, 1.0)
    chord = (hi - leak * lo) / (hi - lo).clamp_min(torch.finfo(lo.dtype).tiny)
    free = leaks.masked_fill(hi > -lo, 1.0) if slope is None else leak + (1 - leak) * slope
    sure = on | off
    zero = torch.zeros_like(lo)
    return Lines(torch.where(sure, known, free), zero, torch.where(sure, known, chord), torch.where(sure, zero, hi * (1 - chord)))


def lines_of_s(f: Function, steepness: Function, lo: Tensor, hi: Tensor) -> Lines:
    """An S-shaped function on [lo, hi]: chords and tangents (Zhang et al. 2018, arXiv:1811.00866, table 2).

    The lower line is the upper one of -f(-x), which has the same shape. Where the limits all but meet, the lines are flat.
    """
    above = _over_s(f, steepness, lo, hi)
    below = _over_s(lambda x: -f(-x), lambda x: steepness(-x), -hi, -lo)
    guard = 2.0**-48 * (1 + torch.maximum(lo.abs(), hi.abs()))
    return Lines(below[0], -below[1] - guard, above[0], above[1] + guard)


def _over_s(f: Function, steepness: Function, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and start of a line above an S on [lo, hi], convex below 0 and concave above.

    A tangent at d >= 0 lies above the concave part; where it also lies above (lo, f(lo)) it lies above the convex part, whose chord to
    (0, f(0)) it exceeds at both ends. Bisection looks for the least such d and always keeps one that is proven. Where not even the tangent
    at hi passes above (lo, f(lo)), f is steeper at hi than its chord, which then lies above it.
    """

    def clears(d: Tensor) -> Tensor:
        return f(d) + steepness(d) * (lo - d) >= f(lo)

    near, far = lo.clamp_min(0).minimum(hi), hi
    touches = (hi > 0) & ((lo >= 0) | clears(far))
    for _ in range(HALVINGS):
        d = (near + far) / 2
        good = clears(d)
        near, far = torch.where(good, near, d), torch.where(good, d, far)
    touch = torch.where(lo >= 0, (lo + hi) / 2, far)
    narrow = hi - lo < 1e-6
    slope = torch.where(touches, steepness(touch), (f(hi) - f(lo)) / (hi - lo).clamp_min(1e-6))
    start = torch.where(touches, f(touch) - slope * touch, f(lo) - slope * lo)
    return torch.where(narrow, 0.0, slope), torch.where(narrow, f(hi), start)
