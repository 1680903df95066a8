"""Fewer bits for each value, so that small changes are rounded away."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from vauban.defences.input.checks import unit_range
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import defence
from vauban.target import Preprocessed, Target

Bits = Annotated[int, Field(ge=1, le=16)]


@defence(
    "input",
    claims="changes smaller than half a step of the coarser scale, in any norm",
    adaptive="gradients straight through the rounding (BPDA), verified on the rounded input",
    owes=THROUGH,
    paper="Xu et al. 2018, arXiv:1704.01155, section III-A; Guo et al. 2018, arXiv:1711.00117",
    broken="accuracy 0 under BPDA on ImageNet (Athalye et al. 2018, arXiv:1802.00420)",
)
def bit_depth(target: Target, *, bits: Bits = 4) -> Target:
    """Rounds every value of the input, in [0, 1], to 2^bits levels."""
    return Preprocessed(Levels(2**bits), target)


class Levels:
    """Values in [0, 1] rounded to so many levels, the ends among them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, x: Tensor) -> Tensor:
        unit_range(x, "bit-depth")
        return (x * (self.count - 1)).round() / (self.count - 1)
