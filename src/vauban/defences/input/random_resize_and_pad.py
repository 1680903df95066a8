"""Images made smaller by a random factor and put somewhere on a black frame, so that no pattern fits its pixels."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from vauban.defences.input.checks import images
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import defence
from vauban.noise import RowNoise
from vauban.settings import Count
from vauban.target import Target
from vauban.target.random_step import RandomStep

Least = Annotated[float, Field(gt=0, lt=1)]


@defence(
    "input",
    claims="changes that are fitted to exact pixels, in any norm",
    adaptive="gradients averaged over draws of size and place (EOT); a success must hold for most fresh draws",
    paper="Xie et al. 2018, arXiv:1711.01991",
    owes=THROUGH,
    images=True,
    broken="accuracy 0 under EOT on ImageNet (Athalye et al. 2018, arXiv:1802.00420, section 5.3)",
)
def random_resize_and_pad(target: Target, *, least: Least = 0.8, draws: Count = 20) -> Target:
    """Resizes images to a random side of at least `least` of theirs, and pads with 0, at random places, to the size they had.

    The paper enlarges the frame instead (299 to 331 pixels); here the frame stays, so that a model of any kind takes it.
    """
    return RandomStep(Resized(least), target, draws=draws)


class Resized:
    """Images (n, channels, height, width) at random size and place in a frame of their own size: bilinear, whole pixels, each row by its noise."""

    def __init__(self, least: float) -> None:
        self.least = least

    def __call__(self, x: Tensor, draw: RowNoise) -> Tensor:
        images(x, "random-resize-and-pad", least=2)
        if not len(x):
            return x
        size, down, right = draw.uniform(3).to(x).unbind(1)
        vertical = self._placed(size, down, x.shape[2])
        horizontal = self._placed(size, right, x.shape[3])
        nothing = torch.zeros_like(size)
        across = torch.stack([1 / horizontal[0], nothing, -horizontal[1] / horizontal[0]], 1)
        along = torch.stack([nothing, 1 / vertical[0], -vertical[1] / vertical[0]], 1)
        grid = functional.affine_grid(torch.stack([across, along], 1), list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _placed(self, size: Tensor, place: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Share of the frame's side that the image takes, and where its centre lies, from -1 to 1; from two numbers in [0, 1)."""
        smallest = min(max(round(self.least * side), 1), side)
        taken = smallest + (size * (side - smallest + 1)).floor()
        first = (place * (side - taken + 1)).floor()
        return taken / side, (2 * first + taken) / side - 1
