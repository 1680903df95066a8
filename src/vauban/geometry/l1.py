"""The L1 ball: the absolute changes sum to at most eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import INF, SLACK, Body, norms_of_rows


@dataclass(frozen=True, eq=False)
class L1(Body):
    """The absolute changes of all features sum to at most eps."""

    p: ClassVar[float] = 1.0

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Euclidean projection onto the L1 ball after the box (the box only shrinks changes, so both hold)."""
        boxed = torch.clamp(x, *limits)
        if self.eps == INF:
            return boxed
        d = boxed - x0
        over = norms_of_rows(d, 1.0, x0.ndim - 1) > self.eps * (1 - SLACK / 2)
        if not bool(over.any()):
            return boxed
        flat = d.flatten(d.ndim - x0.ndim + 1)
        cut = soft_threshold(flat, self.eps * (1 - SLACK)).view_as(d)
        inside = torch.where(over.view(*over.shape, *[1] * (x0.ndim - 1)), x0 + cut, boxed)
        return torch.clamp(inside, *limits)

    def steepest(self, gradient: Tensor, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """All on the one feature with the largest absolute gradient among those that can still move."""
        if room is not None:
            down, up = room
            gradient = gradient * torch.where(gradient > 0, up > 0, down > 0)
        flat = gradient.flatten(1)
        top = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, top, flat.gather(1, top).sign()).view_as(gradient)


def soft_threshold(flat: Tensor, radius: float) -> Tensor:
    """Euclidean projection of each row (..., d) onto the L1 ball (Duchi et al. 2008, algorithm of figure 1)."""
    size = flat.abs().double()
    ordered = size.sort(-1, descending=True).values
    excess = ordered.cumsum(-1) - radius
    count = torch.arange(1, flat.shape[-1] + 1, device=flat.device)
    last = (ordered * count > excess).sum(-1, keepdim=True).clamp_min(1)
    theta = (excess.gather(-1, last - 1) / last).clamp_min(0)
    return (flat.sign() * (size - theta).clamp_min(0)).to(flat.dtype)
