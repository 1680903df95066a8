"""How much the answer moves when the input is squeezed: to fewer bits, or through a median filter."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen, following
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated
from vauban.defences.input.median_smoothing import Median
from vauban.defences.registry import Clean, defence
from vauban.errors import BadPlan
from vauban.settings import Count
from vauban.target import Target


@defence(
    "detection",
    claims="inputs whose probabilities change under coarser values or a median filter; a share `rejected` of clean inputs is rejected",
    adaptive="gradients straight through the rounding and of the pixel that is the median, of the largest change over all squeezers",
    paper="Xu et al. 2018, arXiv:1704.01155, section V",
    owes=SELECTIVE,
    images=True,
    broken="joint attacks break it (He et al. 2017, arXiv:1706.04701); on MNIST in L-infinity bits hide it: judge it on colour images",
)
def feature_squeezing(target: Target, clean: Clean, *, bits: Count = 5, window: Count = 2, rejected: Rejected = 0.05) -> Target:
    """Rejects images whose probabilities move, in L1, when squeezed to `bits` a value or by a median over window x window pixels.

    The larger of the two changes counts. `window` = 1 leaves the median out. Costs a pass of the model for each squeezer.
    """
    if window > 1 and clean.x.ndim != 4:
        raise BadPlan(f"defence 'feature-squeezing': a median filter needs images, and the inputs have shape {tuple(clean.x.shape[1:])}")
    return calibrated(target, Squeezed(bits, window), clean, rejected)


class Squeezed(Detector):
    """The largest L1 distance between the probabilities of the input and of a squeezed one; in [0, 2]."""

    def __init__(self, bits: int, window: int) -> None:
        self.bits, self.window, self.passes, self.median = bits, window, 2 + (window > 1), Median(window)

    def strangeness(self, seen: Seen) -> Tensor:
        squeezed = [rounded(seen.x, self.bits)]
        if self.window > 1:
            squeezed.append(self.median(seen.x))
        plain = seen.z.softmax(1)
        draws = [None if seen.draw is None else seen.draw.fork("squeezed", i) for i in range(len(squeezed))]
        changes = [(seen.model.smooth(s, d).softmax(1) - plain).abs().sum(1) for s, d in zip(squeezed, draws, strict=True)]
        return torch.stack(changes).amax(0)


def rounded(x: Tensor, bits: int) -> Tensor:
    """Values in [0, 1] to the nearest of 2^bits levels; the gradient goes straight through."""
    levels = 2**bits - 1
    hard = (x.detach() * levels).round() / levels
    return following(hard, x) if x.requires_grad else hard
