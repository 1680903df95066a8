"""The median of a small window around every pixel, so that single odd pixels vanish."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from vauban.defences.input.checks import images
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import defence
from vauban.target import Preprocessed, Target

Size = Annotated[int, Field(ge=2, le=15)]


@defence(
    "input",
    claims="changes of few pixels, and small ones in any norm",
    adaptive="its own gradient: that of the pixel which is the median",
    paper="Xu et al. 2018, arXiv:1704.01155, section III-B",
    owes=THROUGH,
    images=True,
    broken="under attacks through the filter (He et al. 2017, arXiv:1706.04701)",
)
def median_smoothing(target: Target, *, size: Size = 3) -> Target:
    """Replaces every pixel by the median of the window around it, channel by channel."""
    return Preprocessed(Median(size), target, differentiable=True)


class Median:
    """The median of windows of `size` x `size`, reflected at the borders; of an even number of values the upper of the two in the middle."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, x: Tensor) -> Tensor:
        k = self.size
        images(x, "median-smoothing", least=k // 2 + 1)
        before, after = k // 2, k - 1 - k // 2
        padded = functional.pad(x, (before, after, before, after), mode="reflect")
        windows = padded.unfold(2, k, 1).unfold(3, k, 1).flatten(4)
        return windows.kthvalue(k * k // 2 + 1, dim=4).values
