"""The L0 balls: at most eps features change, or at most eps pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import Body, float64


@dataclass(frozen=True, eq=False)
class L0(Body):
    """At most eps features change, each anywhere in the box."""

    p: ClassVar[float] = 0.0

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Onto the box, then what changed most is kept and the rest put back: the Euclidean projection of the boxed point."""
        boxed = torch.clamp(x, *limits)
        if self.eps >= x0[0].numel():
            return boxed
        return torch.where(self._kept(boxed - x0, self.eps, x0.ndim - 1), boxed, x0)

    def _kept(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        return largest(d.flatten(d.ndim - features).abs(), radius).view(d.shape)

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        return torch.where(self._kept(d, radius, features), d, 0.0)

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """`size` features (or pixels), each to the end of its room (or by 1): those with the largest gain."""
        move = furthest(gradient, room)
        gain = self.together(gradient * move)
        return torch.where(largest(gain.flatten(1), size).view_as(gain), move, 0.0)

    @property
    def tolerance(self) -> float:
        """Counts are exact: nothing is forgiven."""
        return 0.0


@dataclass(frozen=True, eq=False)
class Pixels(L0):
    """At most eps pixels of an image (channels, height, width) change, each of their channels anywhere in the box."""

    def norm(self, d: Tensor, features: int) -> Tensor:
        return (d != 0).any(-3).flatten(-2).sum(-1).to(d.dtype)

    def together(self, sizes: Tensor) -> Tensor:
        return sizes.sum(-3, keepdim=True)

    def _kept(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        moved = self.together(float64(d).square())
        return largest(moved.flatten(-3), radius).view_as(moved).to(d.device)


def furthest(gradient: Tensor, room: tuple[Tensor, Tensor] | None) -> Tensor:
    """The change, each feature for itself, that raises a linear function most: to the end of its room = (down, up), or by 1 where none is told."""
    return gradient.sign() * (1.0 if room is None else torch.where(gradient > 0, room[1], room[0]))


def largest(values: Tensor, count: float | Tensor) -> Tensor:
    """Marks the `count` largest entries of each row (count: one for all or one a row, rounded down), the first ones where they tie."""
    width = values.shape[-1]
    order = torch.sort(values, stable=True, dim=-1, descending=True).indices
    rank = torch.arange(width, device=values.device)
    most = count.unsqueeze(-1) if isinstance(count, Tensor) else min(count, width)
    taken = (rank < torch.as_tensor(most, device=values.device).floor()).expand_as(order)
    return torch.zeros_like(taken).scatter(-1, order, taken)
