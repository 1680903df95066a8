"""Searches of one gradient step from a random point, as single-step training makes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.starts import random_change
from vauban.doors import Oracle

BALLS = ("linf", "l2", "l1")
"""What they know a random point and a step of."""
Search = Callable[[Oracle], Tensor]


def one_step(step: float) -> Search:
    """A step of so many radii from a random point of the ball, then onto the ball and the box.

    The gradient is taken at the random point as it is, inside the box or not: put into the box first, where most features of an image lie at
    the wall, half of them do not move, and training ends in catastrophic overfitting.
    """

    def search(o: Oracle) -> Tensor:
        x = o.x + random_change(o, o.eps)
        _, gradient = o.ascend(x)
        return o.project(x + o.steepest(gradient, x, step * o.eps))

    return search


def noisy_step(noise: float, step: float) -> Search:
    """A step of so many radii from a random point up to `noise` radii away, then onto the box only."""

    def search(o: Oracle) -> Tensor:
        x = o.x + random_change(o, noise * o.eps)
        _, gradient = o.ascend(x)
        return torch.clamp(x + o.steepest(gradient, x, step * o.eps), *o.ball.within(math.inf).limits(o.x))

    return search


def nearby(o: Oracle) -> Tensor:
    """A random point of the ball, inside the box or not."""
    return o.x + random_change(o, o.eps)
