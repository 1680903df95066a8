"""The Euclidean ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import INF, Body, norms_of_rows, per_row, shrink


@dataclass(frozen=True, eq=False)
class L2(Body):
    """Within Euclidean distance eps of the clean input."""

    p: ClassVar[float] = 2.0

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Onto the ball, then onto the box: both shrink distances, and the second keeps the first, since the clean input is in the box."""
        if self.eps == INF:
            return torch.clamp(x, *limits)
        d = torch.clamp(x, *limits) - x0 if self.mask is not None else x - x0
        return torch.clamp(x0 + shrink(d, norms_of_rows(d, 2.0, x0.ndim - 1), self.eps), *limits)

    def steepest(self, gradient: Tensor, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The unit vector along the gradient. Rows are scaled by their largest entry first: squares of tiny entries vanish in float32."""
        features = gradient.ndim - 1
        scaled = gradient / per_row(norms_of_rows(gradient, INF, features).clamp_min(1e-38), gradient)
        return scaled / per_row(norms_of_rows(scaled, 2.0, features).clamp_min(1e-12), scaled)
