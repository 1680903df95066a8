"""The free energy of the scores: low where some class is very likely before normalisation."""

from __future__ import annotations

from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated
from vauban.defences.registry import Clean, defence
from vauban.settings import Positive
from vauban.target import Target


@defence(
    "detection",
    claims="inputs to which the model gives low scores for every class; a share `rejected` of clean inputs is rejected",
    adaptive="gradients that first make the answer wrong and then accepted, and one goal kept while the other is raised",
    paper="Liu et al. 2020, arXiv:2010.03759, equation 4",
    owes=SELECTIVE,
    broken="made for inputs of other kinds; a wrong class with high scores has low energy, which any confident attack gives it",
)
def energy(target: Target, clean: Clean, *, temperature: Positive = 1.0, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs of high free energy, -T logsumexp(z / T): those to which no class gives a high score. Needs logits, not probabilities."""
    return calibrated(target, Energy(temperature), clean, rejected)


class Energy(Detector):
    """-T logsumexp(z / T)."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def strangeness(self, seen: Seen) -> Tensor:
        return -self.temperature * (seen.z / self.temperature).logsumexp(1)
