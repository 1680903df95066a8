"""The noise of a smoothed classifier, and the radius that a share of the votes under it proves."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import torch
from torch import Tensor

from vauban.errors import BadPlan, nearest
from vauban.threat import INF, Ball

GUARD = 1e-12
"""Added to every share that is asked for, and taken off every radius, relatively: more than their own rounding."""
FORGIVEN, HAIR = 1e-6, 1e-7
"""What the judge of attacks forgives: of the radius, and of the width of the box."""


@dataclass(frozen=True)
class Noise(ABC):
    """Independent noise on every feature.

    Attributes:
        sigma: its standard deviation, in input units.
        norm: the norm that its radii are in, 2 or 1.
        name: what campaign files call it.
    """

    sigma: float
    norm: ClassVar[float]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        if not 0 < self.sigma < INF:
            raise BadPlan(f"smoothing: sigma = {self.sigma:g} must be a positive number, in the units of the inputs")

    @property
    @abstractmethod
    def scale(self) -> float:
        """What `fill` is multiplied by."""

    @abstractmethod
    def fill(self, out: Tensor, generator: torch.Generator) -> None:
        """Fill a float tensor with noise of scale 1, from one row's stream."""

    @abstractmethod
    def share(self, radius: float) -> float:
        """The share of the votes above which the winner is the same within `radius` (in `norm`)."""

    @abstractmethod
    def radius(self, share: float) -> float:
        """The inverse of `share`: the radius (in `norm`) that so large a share proves, at most 0 where it is no majority."""

    def needed(self, radius: float, ball: Ball, shape: Sequence[int]) -> float:
        """The radius in `norm` of a ball that contains the threat's own ball of `radius`, with what its judge forgives.

        Args:
            radius: in the norm of the ball.
            shape: of one input.

        A change of L-infinity size r in d features is at most r sqrt(d) long in L2 and r d in L1; one of L1 or L2 size r is at most r long in
        L2 and r or r sqrt(d) in L1; k features that change freely by up to w are at most w sqrt(k) in L2 and w k in L1.
        """
        if radius <= 0:
            return 0.0
        width, free = _width(ball), math.prod(shape) if ball.mask is None else sum(ball.mask)
        if ball.norm == 0:
            return width * (radius * (shape[0] if ball.pixels else 1)) ** (1 / self.norm) * (1 + FORGIVEN)
        return (radius * (1 + FORGIVEN) + HAIR * width) * free ** max(1 / self.norm - 1 / ball.norm, 0.0)


def _width(ball: Ball) -> float:
    lows, highs = (b if isinstance(b, tuple) else (b,) for b in (ball.lo, ball.hi))
    return max(highs) - min(lows)


@dataclass(frozen=True)
class Gaussian(Noise):
    """Normal noise; radius sigma Phi^-1(p) in L2 (Cohen et al. 2019, arXiv:1902.02918, theorem 1).

    >>> round(Gaussian(0.5).radius(Gaussian(0.5).share(0.75)), 6)
    0.75
    """

    norm = 2.0
    name = "gaussian"

    @property
    def scale(self) -> float:
        return self.sigma

    def fill(self, out: Tensor, generator: torch.Generator) -> None:
        out.normal_(generator=generator)

    def share(self, radius: float) -> float:
        return min(NormalDist().cdf(radius / self.sigma) * (1 + GUARD), 1.0)

    def radius(self, share: float) -> float:
        return INF if share >= 1 else -INF if share <= 0 else self.sigma * NormalDist().inv_cdf(share) * (1 - GUARD)


@dataclass(frozen=True)
class Uniform(Noise):
    """Uniform noise on [-l, l], l = sqrt(3) sigma; radius l (2p - 1) in L1 (Yang et al. 2020, arXiv:2002.08118, table 1).

    >>> round(Uniform(1.0).radius(0.75), 6)  # sqrt(3) / 2
    0.866025
    """

    norm = 1.0
    name = "uniform"

    @property
    def scale(self) -> float:
        return math.sqrt(3) * self.sigma

    def fill(self, out: Tensor, generator: torch.Generator) -> None:
        out.uniform_(-1, 1, generator=generator)

    def share(self, radius: float) -> float:
        return min((1 + radius / self.scale) / 2 * (1 + GUARD), 1.0)

    def radius(self, share: float) -> float:
        return self.scale * (2 * share - 1) * (1 - GUARD)


@dataclass(frozen=True)
class Laplace(Noise):
    """Laplace noise of scale b = sigma / sqrt(2); radius -b log(2 (1 - p)) in L1 (Teng et al. 2020; Yang et al. 2020, arXiv:2002.08118).

    >>> round(Laplace(1.0).radius(0.75), 6)  # log(2) / sqrt(2)
    0.490129
    """

    norm = 1.0
    name = "laplace"

    @property
    def scale(self) -> float:
        return self.sigma / math.sqrt(2)

    def fill(self, out: Tensor, generator: torch.Generator) -> None:
        """The difference of two exponential numbers is Laplacian."""
        out.exponential_(generator=generator)
        out.sub_(torch.empty_like(out).exponential_(generator=generator))

    def share(self, radius: float) -> float:
        return min((1 - math.exp(-radius / self.scale) / 2) * (1 + GUARD), 1.0)

    def radius(self, share: float) -> float:
        return INF if share >= 1 else -self.scale * math.log(2 * (1 - share)) * (1 - GUARD)


NOISES: dict[str, type[Noise]] = {kind.name: kind for kind in (Gaussian, Uniform, Laplace)}


def noise_of(sigma: float, norm: float, name: str = "") -> Noise:
    """The noise by its name, or the usual one for a norm: Gaussian for L2 and L-infinity, uniform for L1.

    Raises:
        BadPlan: no such noise, a norm that smoothing has none for, or a sigma that is not positive.
    """
    if norm not in (INF, 2.0, 1.0):
        raise BadPlan(f"smoothing: norm = {norm:g} must be 2, 1 or inf; certificates for L0 follow from those for L2")
    chosen = name or ("uniform" if norm == 1 else "gaussian")
    if chosen not in NOISES:
        raise BadPlan(f"smoothing: noise = {chosen!r} is not known; {nearest(chosen, NOISES)}")
    return NOISES[chosen](sigma)
