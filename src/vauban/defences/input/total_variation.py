"""Total variation minimisation: pixels are dropped at random, and the image is painted anew with as little variation as the rest allows."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vauban.defences.input.checks import images
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import defence
from vauban.noise import RowNoise
from vauban.settings import Count, Positive
from vauban.target import Preprocessed, Target
from vauban.target.random_step import RandomStep

Dropped = Annotated[float, Field(ge=0, lt=1)]
STEP = 1 / math.sqrt(8)
"""Both step sizes: their product times the squared norm of the differences, at most 8, is 1."""


@defence(
    "input",
    claims="small changes in any norm, which are less smooth than images",
    adaptive="the gradient of the minimisation itself, unrolled, averaged over draws of the dropped pixels (EOT)",
    paper="Guo et al. 2018, arXiv:1711.00117, section 4.3",
    owes=THROUGH,
    images=True,
    broken="accuracy 0 under BPDA on ImageNet (Athalye et al. 2018, arXiv:1802.00420)",
)
def total_variation(target: Target, *, weight: Positive = 0.03, drop: Dropped = 0.3, steps: Count = 30, draws: Count = 10) -> Target:
    """Drops a share of the pixels at random and minimises total variation (Rudin, Osher and Fatemi 1992) over what is left."""
    if drop == 0:
        return Preprocessed(Painted(weight, steps), target, differentiable=True)
    return RandomStep(PaintedFromSome(weight, steps, drop), target, draws=draws)


class Painted:
    """The minimiser of total variation times `weight` plus half the squared distance, after so many steps."""

    def __init__(self, weight: float, steps: int) -> None:
        self.weight, self.steps = weight, steps

    def __call__(self, x: Tensor) -> Tensor:
        images(x, "total-variation")
        return painted(x, torch.ones_like(x[:, :1]), self.weight, self.steps)


class PaintedFromSome:
    """The same over the pixels that are left when each is dropped with a chance, drawn from its row's noise."""

    def __init__(self, weight: float, steps: int, drop: float) -> None:
        self.weight, self.steps, self.drop = weight, steps, drop

    def __call__(self, x: Tensor, draw: RowNoise) -> Tensor:
        images(x, "total-variation")
        kept = (draw.uniform(1, *x.shape[2:]) >= self.drop).to(x)
        return painted(x, kept, self.weight, self.steps)


def painted(x: Tensor, kept: Tensor, weight: float, steps: int) -> Tensor:
    """argmin over z of weight TV(z) + |kept (z - x)|^2 / 2, by the primal-dual method of Chambolle and Pock (2011, algorithm 1).

    Args:
        x: images (n, channels, height, width); TV is isotropic, channel by channel.
        kept: (n, 1, height, width), 1 where a pixel counts and 0 where it is dropped.

    Differentiable, through all steps.
    """
    mean = (kept * x).sum((2, 3), keepdim=True) / kept.sum((2, 3), keepdim=True).clamp_min(1)
    z = ahead = kept * x + (1 - kept) * mean
    pull, divisor = STEP * kept * x, 1 + STEP * kept
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(steps):
        moved_down, moved_right = _differences(ahead)
        down, right = down + STEP * moved_down, right + STEP * moved_right
        over = ((down**2 + right**2 + 1e-12).sqrt() / weight).clamp_min(1)
        down, right = down / over, right / over
        before, z = z, (z + STEP * _divergence(down, right) + pull) / divisor
        ahead = 2 * z - before
    return z


def _differences(z: Tensor) -> tuple[Tensor, Tensor]:
    """Of each pixel to the next one down and to the right; 0 in the last row and column."""
    return z.diff(dim=2, append=z[:, :, -1:]), z.diff(dim=3, append=z[..., -1:])


def _divergence(down: Tensor, right: Tensor) -> Tensor:
    """Minus the adjoint of `_differences`, for fields that are 0 in the last row and column."""
    return down.diff(dim=2, prepend=torch.zeros_like(down[:, :, :1])) + right.diff(dim=3, prepend=torch.zeros_like(right[..., :1]))
