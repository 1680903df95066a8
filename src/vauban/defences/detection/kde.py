"""How dense the clean inputs of the answered class lie around an input, in penultimate features."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.detection.detector import Seen
from vauban.defences.detection.features import Featured, Known, caught_in, distances, known_of
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated, halves
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData
from vauban.settings import Positive
from vauban.target import Target

PAIRS = 1000
"""Known rows of each class that the bandwidth is estimated from, at most."""


@defence(
    "detection",
    claims="inputs whose penultimate features lie where few clean ones of the answered class do; a share `rejected` of clean inputs is rejected",
    adaptive="gradients of the log-density, which does not underflow, under the real verdict",
    paper="Feinman et al. 2017, arXiv:1703.00410, section 4.1",
    owes=SELECTIVE,
    broken="one loss for both goals breaks it on MNIST and CIFAR-10 (Carlini and Wagner 2017, arXiv:1705.07263, section 5.2)",
)
def kde(target: Target, clean: Clean, *, bandwidth: Positive = 0.5, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs of low density, with Gaussian kernels of the answered class. Half of the clean rows carry the kernels.

    `bandwidth` is the kernels' standard deviation as a share of the median distance between known rows of one class.
    """
    fit, rest = halves(clean)
    return calibrated(target, Density(known_of(target, fit), bandwidth), rest, rejected)


class Density(Featured):
    """-log mean exp(-|f - f_i|^2 / (2 h^2)) over the known rows i of the answered class."""

    def __init__(self, known: Known, bandwidth: float) -> None:
        super().__init__(known.layer)
        self.known, self.y = known.features, known.y
        self.counts = torch.bincount(known.y, minlength=known.classes).float()
        self.width = bandwidth * median_distance(known)

    def strangeness(self, seen: Seen) -> Tensor:
        answered = seen.z.argmax(1)
        exponents = -distances(caught_in(seen), self.known).square() / (2 * self.width**2)
        same = self.y == answered[:, None]
        return self.counts[answered].log() - exponents.masked_fill(~same, -torch.inf).logsumexp(1)

    def tensors(self) -> tuple[Tensor, ...]:
        return self.known, self.y


def median_distance(known: Known) -> float:
    """The median distance between rows of one class; raises `BadData` where it is zero."""
    found: list[Tensor] = []
    for c in range(known.classes):
        f = known.features[known.y == c][:PAIRS].cpu()
        found.append(torch.nn.functional.pdist(f))
    middle = float(torch.cat(found).median())
    if middle <= 0:
        raise BadData("more than half of the clean rows have the same features as another of their class; a density of them means nothing")
    return middle
