"""The L0 ball: at most eps features change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import INF, Body


@dataclass(frozen=True, eq=False)
class L0(Body):
    """At most eps features change, each anywhere in the box."""

    p: ClassVar[float] = 0.0

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Onto the box, then the features that changed most are kept and the others put back."""
        boxed = torch.clamp(x, *limits)
        features = x0[0].numel()
        if self.eps >= features:
            return boxed
        d = (boxed - x0).flatten(x.ndim - x0.ndim + 1)
        return (x0.flatten(1) + keep_largest(d, int(self.eps))).view_as(x).clamp(*limits)

    def steepest(self, gradient: Tensor, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The change of as many features as eps allows, each to the end of its room (or by 1), that raises a linear function most."""
        flat = gradient.flatten(1)
        reach = torch.ones_like(flat) if room is None else torch.where(flat > 0, room[1].flatten(1), room[0].flatten(1))
        move = flat.sign() * reach
        features = flat.shape[1] if self.eps == INF else min(int(self.eps), flat.shape[1])
        return torch.where(largest(flat * move, features), move, 0.0).view_as(gradient)

    @property
    def tolerance(self) -> float:
        """Counts are exact: nothing is forgiven."""
        return 0.0


def largest(values: Tensor, count: int) -> Tensor:
    """Marks the `count` largest entries of each row, the first ones where they tie."""
    order = torch.sort(values, stable=True, dim=-1, descending=True).indices[..., :count]
    return torch.zeros_like(values, dtype=torch.bool).scatter(-1, order, value=True)


def keep_largest(d: Tensor, count: int) -> Tensor:
    """Each row with all but its `count` largest absolute entries set to zero."""
    return torch.where(largest(d.abs(), count), d, 0.0)
