"""How much the answer moves under a little noise."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated
from vauban.defences.registry import Clean, defence
from vauban.noise import RowNoise
from vauban.settings import Count, Positive
from vauban.target import Target


@defence(
    "detection",
    claims="inputs whose probabilities change under small Gaussian noise; a share `rejected` of clean inputs is rejected",
    adaptive="the mean over noise is differentiated with its draws (EOT); a success must fool most of fresh draws",
    paper="Roth et al. 2019, arXiv:1902.04818, reduced to the answer's own change; Hu et al. 2019, arXiv:1910.07629, criterion 1",
    owes=SELECTIVE,
    broken="both criteria at once, and the log-odds statistic, fall to gradients through them (Tramèr et al. 2020, arXiv:2002.08347, 5 and 13)",
)
def noise_stability(target: Target, clean: Clean, *, sigma: Positive = 0.1, draws: Count = 8, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs whose probabilities change under noise of standard deviation `sigma`, in the mean over `draws`; fresh for each question."""
    return calibrated(target, Unsteady(sigma, draws), clean, rejected)


class Unsteady(Detector):
    """The mean over noise of the L1 distance between the probabilities with and without it; in [0, 2]."""

    randomised = True

    def __init__(self, sigma: float, draws: int) -> None:
        self.sigma, self.draws, self.passes = sigma, draws, 1 + draws

    def strangeness(self, seen: Seen) -> Tensor:
        x = seen.x
        given = RowNoise(torch.arange(len(x), device=x.device), 0, "stability") if seen.draw is None else seen.draw.fork("stability")
        plain, total = seen.z.softmax(1), torch.zeros(len(x), device=x.device)
        for i in range(self.draws):
            noisy = x + self.sigma * given.fork(i).normal(*x.shape[1:]).to(x)
            z = seen.model.smooth(noisy, None if seen.draw is None else seen.draw.fork("stability-model", i))
            total = total + (z.softmax(1) - plain).abs().sum(1)
        return total / self.draws
