"""The L-infinity ball: every feature within eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import INF, Body, float64, per_row, sized

BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Linf(Body):
    """Every feature within eps of the clean one."""

    p: ClassVar[float] = INF

    def limits(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """The box and the cube at once, rounded inward, so that projection is one clamp and never leaves the ball in float64."""
        lower, upper = super().limits(x0)
        if self.eps == INF:
            return lower, upper
        rows = max(BLOCK // max(x0[:1].numel(), 1), 1)
        for i in range(0, len(x0), rows):
            clean = float64(x0[i : i + rows])
            lower[i : i + rows] = torch.maximum(lower[i : i + rows], _rounded(clean - self.eps, x0, up=True))
            upper[i : i + rows] = torch.minimum(upper[i : i + rows], _rounded(clean + self.eps, x0, up=False))
        return self._masked(x0, lower, upper)

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        return torch.clamp(x, *limits)

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        if not isinstance(radius, Tensor):
            return d.clamp(-radius, radius)
        most = per_row(radius.to(d.dtype), d)
        return torch.minimum(torch.maximum(d, -most), most)

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        return gradient.sign() * sized(size, gradient)


def _rounded(exact: Tensor, like: Tensor, *, up: bool) -> Tensor:
    """The nearest value of the dtype of `like` that is not below (up) or not above (down) the exact one."""
    near = exact.to(like.dtype)
    wrong = near.double() < exact if up else near.double() > exact
    away = torch.full_like(near, INF if up else -INF)
    return torch.where(wrong, torch.nextafter(near, away), near).to(like.device)
