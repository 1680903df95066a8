"""Lines below and above smooth functions that are convex on some pieces of the real line and concave on the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.bounds.relax import HALVINGS, Lines

STEEPEST = 2.0
"""No profile here is steeper than this, and no line is tried that is."""


@dataclass(frozen=True)
class Profile:
    """A function that is nowhere steeper than `STEEPEST`.

    Attributes:
        f, slope: the function and its derivative, of float64 tensors.
        pieces: (start, end, convex), from left to right over the whole line.
        turn: where it is least, falling before and rising after; -inf for one that only rises.
    """

    f: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    pieces: tuple[tuple[float, float, bool], ...]
    turn: float = -math.inf

    def extent(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """Its least and greatest values on [lo, hi]."""
        low, high = self.f(lo), self.f(hi)
        least = self.f(torch.minimum(torch.maximum(lo, torch.full_like(lo, self.turn)), hi))
        return least, torch.maximum(low, high)

    def mirrored(self) -> Profile:
        """-f, whose convex pieces are concave; it has no extent of its own."""
        return Profile(lambda x: -self.f(x), lambda x: -self.slope(x), tuple((a, b, not convex) for a, b, convex in self.pieces))


def lines_of_pieces(profile: Profile, lo: Tensor, hi: Tensor) -> Lines:
    """The better of two lines on each side: parallel to the chord, and to the tangent in the middle.

    Between a function and a line on one side of it lies an area that only the line's value in the middle decides.
    """
    above = _over(profile, lo, hi)
    below = _over(profile.mirrored(), lo, hi)
    guard = 2.0**-47 * (1 + torch.maximum(lo.abs(), hi.abs()))
    return Lines(-below[0], -below[1] - guard, above[0], above[1] + guard)


def _over(profile: Profile, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and start of a line above."""
    middle = (lo + hi) / 2
    chord = (profile.f(hi) - profile.f(lo)) / (hi - lo).clamp_min(1e-9)
    slopes = [m.clamp(-STEEPEST, STEEPEST) for m in (chord, profile.slope(middle))]
    starts = [_highest(profile, m, lo, hi) for m in slopes]
    second = slopes[1] * middle + starts[1] < slopes[0] * middle + starts[0]
    return torch.where(second, slopes[1], slopes[0]), torch.where(second, starts[1], starts[0])


def _highest(profile: Profile, m: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """An upper bound of f(x) - m x on [lo, hi].

    On a convex piece the greatest value is at an end. On a concave one it is where the slope is m: bisection closes in on it, and what lies
    between the last two points cannot rise above either by more than their distance times the steepest slope.
    """
    best = torch.maximum(profile.f(lo) - m * lo, profile.f(hi) - m * hi)
    for start, end, convex in profile.pieces:
        near, far = lo.clamp_min(start), hi.clamp_max(end)
        here = near <= far
        found = torch.maximum(profile.f(near) - m * near, profile.f(far) - m * far)
        if not convex:
            for _ in range(HALVINGS):
                middle = (near + far) / 2
                rises = profile.slope(middle) > m
                near, far = torch.where(rises, middle, near), torch.where(rises, far, middle)
            found = torch.maximum(found, profile.f(far) - m * far + 2 * STEEPEST * (far - near))
        best = torch.where(here, torch.maximum(best, found), best)
    return best


def _hill(inflection: float) -> tuple[tuple[float, float, bool], ...]:
    return (-math.inf, -inflection, False), (-inflection, inflection, True), (inflection, math.inf, False)


def _slope_of_gelu(x: Tensor) -> Tensor:
    return torch.special.ndtr(x) + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _slope_of_tanh_gelu(x: Tensor) -> Tensor:
    c = math.sqrt(2 / math.pi)
    t = torch.tanh(c * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


def _slope_of_silu(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


PROFILES: dict[str, Profile] = {
    "gelu": Profile(F.gelu, _slope_of_gelu, _hill(math.sqrt(2)), -0.7517915246935644),
    "gelu-tanh": Profile(lambda x: F.gelu(x, approximate="tanh"), _slope_of_tanh_gelu, _hill(1.4185040087908278), -0.7524614220710163),
    "silu": Profile(F.silu, _slope_of_silu, _hill(2.3993572805154675), -1.278464542761074),
    "elu": Profile(F.elu, lambda x: torch.exp(x.clamp_max(0)), ((-math.inf, math.inf, True),)),
    "softplus": Profile(lambda x: torch.logaddexp(x, torch.zeros_like(x)), torch.sigmoid, ((-math.inf, math.inf, True),)),
}
"""GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415; exact, and by a tanh), SiLU or Swish (the same, section 4), ELU of alpha 1 (Clevert et al.
2016, arXiv:1511.07289), softplus. The numbers are roots of the second and first derivatives: x^2 = 2 and x tanh(x / 2) = 2 where they have a name."""
