"""A Gaussian blur, so that fine patterns fade."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from vauban.defences.input.checks import images
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import defence
from vauban.settings import Positive
from vauban.target import Preprocessed, Target


@defence(
    "input",
    claims="changes of high spatial frequency, in any norm",
    adaptive="its own gradient: the filter is linear",
    paper="Li and Li 2017, arXiv:1612.07767 (a mean filter)",
    owes=THROUGH,
    images=True,
    broken="under attacks through the filter (Carlini and Wagner 2017, arXiv:1705.07263)",
)
def gaussian_smoothing(target: Target, *, sigma: Positive = 0.7) -> Target:
    """Blurs every channel with a Gaussian of deviation `sigma` pixels, reflected at the borders."""
    return Preprocessed(Blur(sigma), target, differentiable=True)


class Blur:
    """A Gaussian filter, cut off at three deviations or where the image ends."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def __call__(self, x: Tensor) -> Tensor:
        images(x, "gaussian-smoothing", least=2)
        radius = min(max(math.ceil(3 * self.sigma), 1), min(x.shape[2:]) - 1)
        at = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float64)
        line = torch.exp(-(at**2) / (2 * self.sigma**2))
        weights = (line / line.sum()).to(x.dtype).repeat(x.shape[1], 1)
        padded = functional.pad(x, (radius,) * 4, mode="reflect")
        down = functional.conv2d(padded, weights[:, None, :, None], groups=len(weights))
        return functional.conv2d(down, weights[:, None, None, :], groups=len(weights))
