"""The baseline of all detectors: how sure the model is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Detector, calibrated
from vauban.defences.registry import Clean, defence
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target

Rejected = Annotated[float, Field(gt=0, lt=1)]
"""The share of clean inputs that may be rejected."""


@defence(
    "detection",
    claims="inputs of which the model is not sure; a share `rejected` of clean inputs is rejected",
    adaptive="gradients that first make the answer wrong and then accepted, besides the margin of both at once",
    paper="Hendrycks and Gimpel 2017, arXiv:1610.02136",
    owes=SELECTIVE,
    broken="adversarial inputs are often answered with more confidence than clean ones (Carlini and Wagner 2017, arXiv:1705.07263)",
)
def max_softmax(target: Target, clean: Clean, *, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs whose highest probability is low."""
    return calibrated(target, Unsure(), clean, rejected)


class Unsure(Detector):
    """Minus the logarithm of the highest probability: 0 where the model is sure."""

    def strangeness(self, x: Tensor, z: Tensor, model: Surrogate, draw: RowNoise | None = None) -> Tensor:
        return -z.log_softmax(1).amax(1)
