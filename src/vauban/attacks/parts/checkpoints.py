"""When Auto-PGD looks back, what it then asks, and how it keeps the best point it has seen (Croce and Hein 2020, arXiv:2003.01690)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.doors import Rows
from vauban.geometry import per_row

RHO = 0.75
"""Share of the steps of a period that must have raised the loss for the step size to stay."""


def checkpoints(steps: int) -> dict[int, int]:
    """The steps after which Auto-PGD looks back, each with the length of the period that it ends (section 3.1).

    The first period is 22 % of the steps; each is 3 % of them shorter than the one before, and none shorter than 6 %.

    >>> list(checkpoints(100).values())
    [22, 19, 16, 13, 10, 7, 6, 6]
    """
    period, less, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    found: dict[int, int] = {}
    at = period
    while at <= steps:
        found[at] = period
        period = max(period - less, least)
        at += period
    return found


def phases(steps: int) -> tuple[tuple[float, int], ...]:
    """Multiples of the radius and the steps spent at each, 30, 30 and 40 % (Croce and Hein 2021, arXiv:2103.01208, section 3.2).

    >>> phases(100)
    ((3.0, 30), (2.0, 30), (1.0, 40))
    """
    first = min(math.ceil(0.3 * steps), steps)
    second = min(first, steps - first)
    return (3.0, first), (2.0, second), (1.0, steps - first - second)


def start_ascent(x: Tensor) -> dict[str, Tensor]:
    """State that `remember` keeps for points x (n, *shape): of the best point of each row itself, its gradient `slope` and its value `top`;
    and the last value, and how many steps of the present period raised it."""
    none = x.new_full((len(x),), -math.inf)
    return {"best": x.clone(), "slope": torch.zeros_like(x), "top": none, "value": -none, "rises": torch.zeros_like(none)}


def remember(s: Rows, value: Tensor, gradient: Tensor) -> None:
    """Enter the answer at `s.x`: value (n,) and gradient (n, *shape). A value that is no number is no improvement."""
    better = value > s.top
    s.top = torch.where(better, value, s.top)
    # between finite numbers weights of 0 and 1 choose exactly; in place, since this is what an attack does most beside asking
    chosen = per_row(better.to(s.x.dtype), s.x)
    s.best.lerp_(s.x, chosen)
    s.slope.lerp_(gradient, chosen)
    s.rises, s.value = s.rises + (value > s.value), value


def stalled(s: Rows, period: int) -> Tensor:
    """Which rows are to halve their step, bool (n,): few steps of the period raised the loss (condition 1), or the step is what it was a
    period ago and so is the best loss (condition 2). Reads `s.rises`, `s.top`, and of the last checkpoint `s.mark` and `s.halved`."""
    return (s.rises <= RHO * period) | (~s.halved & (s.top <= s.mark))
