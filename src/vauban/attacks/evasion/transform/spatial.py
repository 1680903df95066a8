"""Rotations and translations by grid search."""

import math

import torch

from vauban.attacks.registry import Count, attack
from vauban.doors import Oracle
from vauban.threat import Access

AT_ONCE = 32


@attack(Access.NONE, on=("transformations",), paper="Engstrom et al. 2019, arXiv:1712.02779, section 4")
def spatial(o: Oracle, grid: Count = 7) -> None:
    """Every point of a grid over angles and shifts, the smallest first; `grid` values along each."""
    axis = torch.linspace(-1, 1, grid) if grid > 1 else torch.zeros(1)
    points = torch.cartesian_prod(axis, axis, axis).to(o.x)
    lower, upper = (limit[0] for limit in o.limits)
    points = torch.unique(points.clamp(lower, upper), dim=0)
    points = points[torch.sort(points.abs().amax(1), stable=True).indices]
    for i in o.steps(math.ceil(len(points) / AT_ONCE)):
        some = points[i * AT_ONCE : (i + 1) * AT_ONCE, None]
        o.submit(some.expand(len(some), *o.x.shape))
