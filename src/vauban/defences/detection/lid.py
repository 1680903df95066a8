"""The local intrinsic dimensionality of the features around an input: how fast the number of clean neighbours grows with distance."""

from __future__ import annotations

from torch import Tensor

from vauban.defences.detection.detector import Seen
from vauban.defences.detection.features import Featured, Known, caught_in, distances, known_of
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated, halves
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData
from vauban.settings import Count
from vauban.target import Target

NEAREST = 1e-6
"""No distance counts as less: a neighbour that is the input itself says nothing about dimensions."""


@defence(
    "detection",
    claims="inputs around which clean features spread in more dimensions than around clean ones; a share `rejected` of clean inputs is rejected",
    adaptive="gradients through the estimate itself, which is smooth but where neighbours change places",
    paper="Ma et al. 2018, arXiv:1801.02613, equation 4, on one layer, with all known rows as the neighbourhood and no trained classifier on top",
    owes=SELECTIVE,
    broken="attacks that ignore it and are confident pass it: 2 % and 15 % accuracy left (Athalye et al. 2018, arXiv:1802.00420, section 5.2)",
)
def lid(target: Target, clean: Clean, *, k: Count = 20, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs of high local intrinsic dimensionality, estimated from k neighbours. Half of the clean rows are the neighbours."""
    fit, rest = halves(clean)
    return calibrated(target, Dimensions(known_of(target, fit), k), rest, rejected)


class Dimensions(Featured):
    """The maximum-likelihood estimate -1 / mean(log(d_i / d_k)) over the k smallest distances to known features."""

    def __init__(self, known: Known, k: int) -> None:
        super().__init__(known.layer)
        if len(known.features) < k or k < 2:
            raise BadData(f"{len(known.features)} clean rows and k = {k}; LID needs at least 2 neighbours, and as many rows as neighbours")
        self.k, self.known = k, known.features

    def strangeness(self, seen: Seen) -> Tensor:
        return dimension(distances(caught_in(seen), self.known).topk(self.k, dim=1, largest=False).values)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.known,)


def dimension(nearest: Tensor) -> Tensor:
    """The estimate (n,) from distances (n, k) in ascending order."""
    logs = nearest.clamp_min(NEAREST).log()
    return 1 / (logs[:, -1:] - logs[:, :-1]).mean(1).clamp_min(1e-6)
