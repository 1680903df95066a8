"""The Euclidean ball."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vauban.geometry.body import INF, Body, norms_of_rows, per_row, shrink, sized


@dataclass(frozen=True, eq=False)
class L2(Body):
    """Within Euclidean distance eps of the clean input."""

    p: ClassVar[float] = 2.0

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        count = math.prod(d.shape[d.ndim - features :])
        return shrink(d, norms_of_rows(d, 2.0, features), radius, self.grain(d) * math.sqrt(count))

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Along the gradient. Rows are scaled by their largest entry first: squares of tiny entries vanish in float32."""
        features = gradient.ndim - 1
        scaled = gradient / per_row(norms_of_rows(gradient, INF, features).clamp_min(1e-38), gradient)
        return scaled * (sized(size, gradient) / per_row(norms_of_rows(scaled, 2.0, features).clamp_min(1e-12), scaled))
