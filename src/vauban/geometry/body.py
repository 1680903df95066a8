"""An Lp ball inside a box: distance, projection, and the step that raises a linear function fastest."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

INF = math.inf
SLACK = 2.0**-20
"""How far inside the radius a projection lands, relatively: float32 rounding then never leaves the ball."""


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """View one value a row so that it broadcasts against a batch: (..., n) against (..., n, *shape).

    >>> per_row(torch.ones(2), torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 1, 1, 1])
    """
    return values.view(*values.shape, *[1] * (like.ndim - values.ndim))


def norms_of_rows(d: Tensor, p: float, features: int) -> Tensor:
    """The Lp norm of each row of (..., *shape), whose last `features` dimensions are one input."""
    flat = d.flatten(d.ndim - features) if features else d.unsqueeze(-1)
    if p == INF:
        return flat.abs().amax(-1)
    if p == 0:
        return (flat != 0).sum(-1).to(flat.dtype)
    return torch.linalg.vector_norm(flat, ord=p, dim=-1)


def float64(x: Tensor) -> Tensor:
    """In double precision; on the CPU where the device has none (MPS)."""
    return x.cpu().double() if x.device.type == "mps" else x.double()


@dataclass(frozen=True, eq=False)
class Body(ABC):
    """The inputs within `eps` of a clean one, inside the box [lo, hi].

    Attributes:
        eps: radius in input units; inf for none.
        lo, hi: the box: floats, or tensors of the shape of one input.
        mask: bool tensor of the shape of one input: which features may change; None means all.

    All methods take batches (..., n, *shape) with the clean rows (n, *shape) as x0, and never couple rows.
    """

    eps: float
    lo: float | Tensor = 0.0
    hi: float | Tensor = 1.0
    mask: Tensor | None = None
    p: ClassVar[float]

    def within(self, eps: float) -> Self:
        """The same body with another radius."""
        return replace(self, eps=eps)

    def limits(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """Per feature, the least and the greatest value that the box (and the mask) allows."""
        lower, upper = torch.empty_like(x0).copy_(_wide(self.lo, x0)), torch.empty_like(x0).copy_(_wide(self.hi, x0))
        return self._masked(x0, lower, upper)

    def _masked(self, x0: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        if self.mask is None:
            return lower, upper
        return torch.where(self.mask, lower, x0), torch.where(self.mask, upper, x0)

    @abstractmethod
    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        """Changes d (..., *shape of `features` dimensions), brought into the ball of a radius, one for all or one a row (...,)."""

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """A nearby point of the body: onto the ball, then onto the box, which keeps the first since the clean input is in the box.

        Idempotent, and inside the radius when judged in float64. For L-infinity this is the Euclidean projection.
        """
        lower, upper = limits
        if self.eps == INF:
            return torch.clamp(x, lower, upper)
        d = (x if self.mask is None else torch.clamp(x, lower, upper)) - x0
        return torch.clamp(x0 + self.cut(d, self.eps, x0.ndim - 1), lower, upper)

    @abstractmethod
    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The change of norm at most `size` (one for all or one a row) that raises a linear function most; zero where the gradient is.

        `room` = (down, up), how far each feature may still move, lets the sparse norms spend on features that can.
        """

    def distance(self, x0: Tensor, x: Tensor) -> Tensor:
        """The Lp distance of each row, float64."""
        features = x0.ndim - 1
        return norms_of_rows(float64(x) - float64(x0), self.p, features)

    def outside(self, x: Tensor, x0: Tensor) -> Tensor:
        """How far the worst feature of each row lies outside the box, or off the mask, float64; 0 when inside."""
        wide, features = float64(x), x0.ndim - 1
        over = torch.maximum(wide - _wide(self.hi, wide), _wide(self.lo, wide) - wide).clamp_min(0)
        if self.mask is not None:
            moved = (wide - float64(x0)).abs()
            over = torch.where(self.mask.to(over.device), over, torch.maximum(over, moved))
        return norms_of_rows(over, INF, features)

    @property
    def width(self) -> float:
        """The range of the widest feature."""
        gap = self.hi - self.lo
        return float(gap.max()) if isinstance(gap, Tensor) else gap

    @property
    def tolerance(self) -> float:
        """What the judge forgives before a candidate is projected inward: relative 1e-6, and 1e-7 of the input range."""
        return (self.eps * 1e-6 if self.eps < INF else 0.0) + 1e-7 * self.width


def _wide(bound: float | Tensor, like: Tensor) -> Tensor:
    return bound.to(like) if isinstance(bound, Tensor) else like.new_tensor(bound)


def shrink(d: Tensor, norm: Tensor, radius: float | Tensor) -> Tensor:
    """Scale the rows of d whose norm exceeds the radius to just inside it. Exactly idempotent: what was scaled is not scaled again."""
    factor = torch.where(norm > radius * (1 - SLACK / 2), radius * (1 - SLACK) / norm, 1.0)
    return d * per_row(factor.to(d.dtype), d)


def sized(size: float | Tensor, like: Tensor) -> float | Tensor:
    """A size for all rows, or one a row, ready to multiply a batch."""
    return per_row(size, like) if isinstance(size, Tensor) else size
