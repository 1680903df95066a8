"""What an attacker takes for a success that has only a surrogate of its own to go by."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.doors.oracle.view import Rows
from vauban.geometry import per_row

SLACK = 1 + 1e-6
"""Points are projected onto the radius, and lie on either side of it by rounding."""


def no_belief(x: Tensor) -> Rows:
    """No row (n, *shape) has a point yet: `end`, its `distance` and `margin`, and whether it was `handed` in."""
    blank = x.new_full((len(x),), torch.inf)
    return Rows(end=x, distance=blank, margin=-blank, handed=torch.zeros_like(blank, dtype=torch.bool))


def believe(seen: Rows, v: Tensor, distance: Tensor, margin: Tensor, eps: float) -> None:
    """Keep of each row one point that the surrogate takes for a success: the surest inside the radius, for what barely fools a surrogate seldom
    fools the target; the nearest where none is inside.

    Args:
        seen: what was kept so far, changed in place.
        v, distance, margin: points (n, *shape), how far from the clean ones, (n,), and by how much they fool the surrogate, (n,).
        eps: the radius.
    """
    inside, was = distance <= eps * SLACK, seen.distance <= eps * SLACK
    better = torch.where(inside & was, margin > seen.margin, torch.where(inside == was, distance < seen.distance, inside)) & (margin > 0)
    seen.end, seen.distance = torch.where(per_row(better, v), v, seen.end), torch.where(better, distance, seen.distance)
    seen.margin = torch.where(better, margin, seen.margin)
