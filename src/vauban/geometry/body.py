"""An Lp ball inside a box: distance, projection, and the step that raises a linear function fastest."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

INF = math.inf
SLACK = 2.0**-18
"""How far inside the radius a projection lands, relatively: a norm of 150,000 features is off by up to a third of it in float32."""


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
    if p == 1:
        return flat.abs().sum(-1)  # pairwise, so five times faster and a hundred times more exact than `vector_norm`
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

    Methods take batches (..., n, *shape) with the clean rows (n, *shape) as x0, and never couple rows.
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

        Idempotent, and inside the radius when judged in float64. For L-infinity and L1 this is the Euclidean projection, for what counts features,
        pixels or sides that of a point in the box.
        """
        lower, upper = limits
        if self.eps == INF:
            return torch.clamp(x, lower, upper)
        x = x if self.mask is None else torch.clamp(x, lower, upper)
        d = x - x0
        cut = self.cut(d, self.eps, x0.ndim - 1)
        return torch.clamp(torch.where(cut == d, x, x0 + cut), lower, upper)  # x0 + (x - x0) would not always be x

    @abstractmethod
    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The change of norm at most `size` (one for all or one a row) that raises a linear function most; zero where the gradient is.

        Takes gradients (n, *shape) only: it is told no clean rows, so it could not tell leading dimensions from features.

        `room` = (down, up), how far each feature may still move, lets the sparse norms spend on features that can.
        """

    def norm(self, d: Tensor, features: int) -> Tensor:
        """The size of changes d (..., *shape of `features` dimensions), in their type."""
        return norms_of_rows(d, self.p, features)

    def together(self, sizes: Tensor) -> Tensor:
        """Sizes of changes (..., *shape), 0 or more, summed over what counts as one change; broadcasts against them."""
        return sizes

    def distance(self, x0: Tensor, x: Tensor) -> Tensor:
        """The size of each row's change, float64."""
        return self.norm(float64(x) - float64(x0), x0.ndim - 1)

    def outside(self, x: Tensor, x0: Tensor) -> Tensor:
        """How far the worst feature of each row lies outside the box, or off the mask, float64; 0 when inside."""
        if self.mask is None and isinstance(self.lo, float | int) and isinstance(self.hi, float | int):
            flat = x.flatten(1)
            low, high = _wide(self.lo, x), _wide(self.hi, x)
            return float64(torch.maximum(flat.amax(1) - high, low - flat.amin(1)).clamp_min(0))
        wide, features = float64(x), x0.ndim - 1
        # the walls are where the dtype of the inputs puts them: 1.1 in float32 lies beyond 1.1 in float64
        over = torch.maximum(wide - float64(_wide(self.hi, x)), float64(_wide(self.lo, x)) - wide).clamp_min(0)
        if self.mask is not None:
            moved = (wide - float64(x0)).abs()
            over = torch.where(self.mask.to(over.device), over, torch.maximum(over, moved))
        return norms_of_rows(over, INF, features)

    def holds(self, x: Tensor) -> bool:
        """A cheap look: True when it is plain that the box holds every feature (and there is no mask); False proves nothing. NaN is outside."""
        if self.mask is not None or isinstance(self.lo, Tensor) or isinstance(self.hi, Tensor) or not x.numel():
            return False
        least, most = x.aminmax()
        return float(least) >= self.lo and float(most) <= self.hi

    @property
    def dual(self) -> float:
        """The exponent of the dual norm, which measures slopes; inf for L0, whose steps move one feature as far as they like."""
        return {INF: 1.0, 2.0: 2.0}.get(self.p, INF)

    @property
    def width(self) -> float:
        """The range of the widest feature."""
        gap = self.hi - self.lo
        return float(gap.max()) if isinstance(gap, Tensor) else gap

    def grain(self, like: Tensor) -> float:
        """The most that rounding can move one feature of an input in the box, in the dtype of `like`."""
        ends = [float(b.abs().max()) if isinstance(b, Tensor) else abs(b) for b in (self.lo, self.hi)]
        return torch.finfo(like.dtype).eps / 2 * max(ends) if max(ends) < INF else 0.0

    @property
    def tolerance(self) -> float:
        """What the judge forgives before a candidate is projected inward: relative 1e-6, and 1e-7 of the input range."""
        return (self.eps * 1e-6 if self.eps < INF else 0.0) + 1e-7 * self.width


def _wide(bound: float | Tensor, like: Tensor) -> Tensor:
    return bound.to(like) if isinstance(bound, Tensor) else like.new_tensor(bound)


def shrink(d: Tensor, norm: Tensor, radius: float | Tensor, spare: float) -> Tensor:
    """Scale the rows of d whose norm exceeds the radius to just inside it. Exactly idempotent: what was scaled is not scaled again.

    `spare` is left for what rounding adds when the change is added to the clean input.
    """
    less = radius * (1 - SLACK) - spare
    inner = less.clamp_min(0.0) if isinstance(less, Tensor) else max(less, 0.0)
    factor = torch.where(norm > radius * (1 - SLACK / 2), inner / norm, 1.0)
    return d * per_row(factor.to(d.dtype), d)


def sized(size: float | Tensor, like: Tensor) -> float | Tensor:
    """A size for all rows, or one a row, ready to multiply a batch."""
    return per_row(size, like) if isinstance(size, Tensor) else size
