"""The nearest points of boxes, inside what a threat allows, and how far they are from the clean inputs."""

from __future__ import annotations

from torch import Tensor

from vauban.geometry.body import INF, Body
from vauban.geometry.features import Tabular

Limits = tuple[Tensor, Tensor]


def nearest(body: Body, x0: Tensor, limits: Limits, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest point of each box to each clean input, and its distance.

    Coordinate by coordinate nearest, so it is nearest in every norm at once. Under feature constraints whole numbers stay whole and one-hot
    groups stay one-hot; relations between features are not seen to.

    Args:
        body: measures the distance; its radius does not matter.
        x0: float (n, *shape), clean inputs.
        limits: the least and the greatest value of each feature, (n, *shape) each.
        lo, hi: the boxes, ends included, (m, n, *shape) or (m, 1, *shape); numbers of the type of x0.

    Returns:
        Points (m, n, *shape), and float64 distances (m, n): inf where the box holds nothing that is allowed.
    """
    low, high = lo.maximum(limits[0]), hi.minimum(limits[1])
    if isinstance(body, Tabular):
        point, possible = body.nearest(x0, low, high)
    else:
        possible = (low <= high).flatten(2).all(2)
        point = x0.expand_as(low).clamp(low, high)
    return point, body.distance(x0, point).masked_fill(~possible.to(body.distance(x0, x0).device), INF)
