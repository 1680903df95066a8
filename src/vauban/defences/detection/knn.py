"""How far the features of an input lie from those of clean inputs: the distance to the k-th nearest."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.detection.detector import Seen, following
from vauban.defences.detection.features import Featured, Known, caught_in, distances, known_of
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated, halves
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData
from vauban.settings import Count
from vauban.target import Target


@defence(
    "detection",
    claims="inputs whose penultimate features have no clean neighbours; a share `rejected` of clean inputs is rejected",
    adaptive="gradients of the mean distance to all k neighbours in place of the k-th, under the real verdict",
    paper="Sun et al. 2022, arXiv:2204.06507; Papernot and McDaniel 2018, arXiv:1803.04765",
    owes=SELECTIVE,
    broken="soft neighbours give gradients that reach a clean neighbourhood of a wrong class (Sitawarin and Wagner 2019, arXiv:1903.08333)",
)
def knn(target: Target, clean: Clean, *, k: Count = 10, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs whose k-th nearest clean neighbour is far, by features of length 1. Half of the clean rows are the neighbours."""
    fit, rest = halves(clean)
    return calibrated(target, Neighbours(known_of(target, fit), k), rest, rejected)


class Neighbours(Featured):
    """The distance to the k-th nearest of the known features, all of L2 norm 1; its gradient is that of the mean over the k nearest."""

    def __init__(self, known: Known, k: int) -> None:
        super().__init__(known.layer)
        if len(known.features) < k:
            raise BadData(f"{len(known.features)} clean rows to look for {k} neighbours among; give more, or a smaller k")
        self.k, self.known = k, unit(known.features)

    def strangeness(self, seen: Seen) -> Tensor:
        nearest = distances(unit(caught_in(seen)), self.known).topk(self.k, dim=1, largest=False).values
        return following(nearest[:, -1], nearest.mean(1)) if nearest.requires_grad else nearest[:, -1]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.known,)


def unit(f: Tensor) -> Tensor:
    """Rows (n, d) over their L2 norms; zero rows stay zero."""
    return f / torch.linalg.vector_norm(f, dim=1, keepdim=True).clamp_min(1e-12)
