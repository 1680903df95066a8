"""The baseline of all detectors: how sure the model is."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.owed import CONFIDENT
from vauban.defences.detection.rejecting import Rejected, calibrated
from vauban.defences.registry import Clean, defence
from vauban.target import Target


@defence(
    "detection",
    claims="inputs of which the model is not sure; a share `rejected` of clean inputs is rejected",
    adaptive="gradients that first make the answer wrong and then accepted, one goal kept while the other is raised, and confidence in a wrong class",
    paper="Hendrycks and Gimpel 2017, arXiv:1610.02136",
    owes=CONFIDENT,
    broken="adversarial inputs are often answered with more confidence than clean ones (Carlini and Wagner 2017, arXiv:1705.07263)",
)
def max_softmax(target: Target, clean: Clean, *, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs whose highest probability is low."""
    return calibrated(target, Unsure(), clean, rejected)


class Unsure(Detector):
    """Minus the log-odds of the highest probability, log((1 - p) / p): falls with p, and neither it nor its gradient saturates."""

    def strangeness(self, seen: Seen) -> Tensor:
        first = seen.z.argmax(1, keepdim=True)
        others = seen.z.scatter(1, first, -torch.inf).logsumexp(1)
        return others - seen.z.gather(1, first)[:, 0]
