"""The L1 ball: the absolute changes sum to at most eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import INF, SLACK, Body, norms_of_rows, per_row
from vauban.geometry.l1_box import onto_ball_in_box


@dataclass(frozen=True, eq=False)
class L1(Body):
    """The absolute changes of all features sum to at most eps."""

    p: ClassVar[float] = 1.0

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """The nearest point of ball and box at once: onto one after the other would give away what the box cuts off."""
        return torch.clamp(x, *limits) if self.eps == INF else onto_ball_in_box(self, x0, x, limits)

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        """Euclidean projection onto the L1 ball; rows already inside are returned as they are."""
        over = norms_of_rows(d, 1.0, features) > radius * (1 - SLACK / 2)
        if not bool(over.any()):
            return d
        flat = d.flatten(d.ndim - features)
        cut = soft_threshold(flat, radius.unsqueeze(-1) if isinstance(radius, Tensor) else radius).view_as(d)
        spare = self.grain(d) * norms_of_rows(cut, 0.0, features)  # only features that move are rounded, and few do
        scale = (radius * (1 - SLACK) - spare).clamp_min(0) / radius
        return torch.where(per_row(over, d), cut * per_row(scale, d), d)

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """All on the feature with the largest absolute gradient; with `room`, on the next ones once it can move no further."""
        flat = gradient.flatten(1)
        total = size.to(flat.dtype)[:, None] if isinstance(size, Tensor) else flat.new_full((len(flat), 1), size)
        reach = total.expand_as(flat) if room is None else torch.where(flat > 0, room[1].flatten(1), room[0].flatten(1)).clamp_min(0)
        order = torch.sort(flat.abs(), stable=True, dim=1, descending=True).indices
        ordered = reach.gather(1, order) * (flat.gather(1, order) != 0)
        spent = torch.minimum(ordered, (total - (ordered.cumsum(1) - ordered)).clamp_min(0))
        return (torch.zeros_like(flat).scatter(1, order, spent) * flat.sign()).view_as(gradient)


def soft_threshold(flat: Tensor, radius: float | Tensor) -> Tensor:
    """Euclidean projection of each row (..., d) onto the L1 ball of radius (...,1) (Duchi et al. 2008, algorithm of figure 1)."""
    size = flat.abs().double()
    ordered = torch.sort(size, dim=-1, descending=True).values
    excess = ordered.cumsum(-1) - radius
    count = torch.arange(1, flat.shape[-1] + 1, device=flat.device)
    last = (ordered * count > excess).sum(-1, keepdim=True).clamp_min(1)
    theta = (excess.gather(-1, last - 1) / last).clamp_min(0)
    return (flat.sign() * (size - theta).clamp_min(0)).to(flat.dtype)
