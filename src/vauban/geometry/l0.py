"""The L0 ball: at most eps features change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import Body


@dataclass(frozen=True, eq=False)
class L0(Body):
    """At most eps features change, each anywhere in the box."""

    p: ClassVar[float] = 0.0

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Onto the box, then the features that changed most are kept and the others put back: the Euclidean projection."""
        boxed = torch.clamp(x, *limits)
        if self.eps >= x0[0].numel():
            return boxed
        return torch.where(self._kept(boxed - x0, self.eps, x0.ndim - 1), boxed, x0)

    @staticmethod
    def _kept(d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        return largest(d.flatten(d.ndim - features).abs(), radius).view(d.shape)

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        return torch.where(self._kept(d, radius, features), d, 0.0)

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """`size` features, each to the end of its room (or by 1): those with the largest gain."""
        flat = gradient.flatten(1)
        reach = torch.ones_like(flat) if room is None else torch.where(flat > 0, room[1].flatten(1), room[0].flatten(1))
        move = flat.sign() * reach
        return torch.where(largest(flat * move, size), move, 0.0).view_as(gradient)

    @property
    def tolerance(self) -> float:
        """Counts are exact: nothing is forgiven."""
        return 0.0


def largest(values: Tensor, count: float | Tensor) -> Tensor:
    """Marks the `count` largest entries of each row (count: one for all or one a row, rounded down), the first ones where they tie."""
    width = values.shape[-1]
    order = torch.sort(values, stable=True, dim=-1, descending=True).indices
    rank = torch.arange(width, device=values.device)
    most = count.unsqueeze(-1) if isinstance(count, Tensor) else min(count, width)
    taken = (rank < torch.as_tensor(most, device=values.device).floor()).expand_as(order)
    return torch.zeros_like(taken).scatter(-1, order, taken)
