"""Conformal rejection: no answer where a clean input would look so strange too rarely; the share of clean inputs that get none is guaranteed."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.energy import Energy
from vauban.defences.detection.features import known_of
from vauban.defences.detection.kde import Density
from vauban.defences.detection.knn import Neighbours
from vauban.defences.detection.mahalanobis import Gaussians
from vauban.defences.detection.max_softmax import Unsure
from vauban.defences.detection.owed import CONFIDENT
from vauban.defences.detection.rejecting import Rejected, Rejecting, classes_of, halves, looked, spread_of
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData, BadTarget
from vauban.target import Target

Score = Literal["max-softmax", "energy", "mahalanobis", "knn", "kde"]
FITTED = ("mahalanobis", "knn", "kde")
"""Scores that are fitted on half of the clean rows."""


@defence(
    "rejection",
    claims="a clean input from where the calibration rows come from is rejected with probability at most `alpha`; nothing about changed inputs",
    adaptive="as for the score that is calibrated: the answer made wrong first and then accepted, and confidence in a wrong class",
    paper="Vovk et al. 2005, Algorithmic Learning in a Random World, 2.2 and 4.5 (categories); Angelopoulos and Bates 2021, arXiv:2107.07511",
    owes=CONFIDENT,
    broken="the guarantee is about exchangeable inputs, which attacked ones are not (Gendler et al. 2022, ICLR)",
)
def conformal(target: Target, clean: Clean, *, alpha: Rejected = 0.05, score: Score = "max-softmax", by_class: bool = False) -> Target:
    """Rejects inputs whose p-value, the share of clean rows that look as strange, is at most `alpha`.

    A clean input, answered rightly or not, is rejected with probability floor(alpha (n + 1)) / (n + 1) for n calibration rows and continuous
    scores, never above alpha; in the mean over calibrations too. `by_class`: the same for the inputs of each answered class on its own.
    """
    fit, rest = halves(clean) if score in FITTED else (clean, clean)
    return rejecting_by(target, _detector(score, target, fit), rest, alpha, by_class=by_class)


def rejecting_by(target: Target, detector: Detector, clean: Clean, alpha: float, *, by_class: bool, seed: int = 0) -> Rejecting:
    """The target with a detector whose p-values on clean rows decide.

    Raises:
        BadData: too few rows, of a class where it goes by class, for any p-value to be as small as alpha.
    """
    strange, answers = looked(target, detector, clean.x, seed)
    classes = classes_of(target, clean)
    groups = [strange[answers == c] for c in range(classes)] if by_class else [strange]
    needed = math.ceil(1 / alpha) - 1
    for c, group in enumerate(groups):
        if len(group) < needed:
            of = f" that are answered class {c}" if by_class else ""
            raise BadData(f"{len(group)} clean rows{of} give no p-value of {alpha:g} or less; give {needed} or more")
    judge = Conformal(detector, [g.double().sort().values for g in groups], alpha)
    judge.scale = spread_of(strange.double().sort().values)
    return Rejecting(target, judge, 0.0, classes)


class Conformal(Detector):
    """By how much the score of a detector exceeds the one whose p-value is just above alpha, of the answered class where there is one for each.

    Args:
        inner: the detector.
        groups: sorted scores of the calibration rows, float64 (n,), of all of them or of each answered class.
        alpha: inputs with a p-value of at most this are rejected.
    """

    def __init__(self, inner: Detector, groups: list[Tensor], alpha: float) -> None:
        self.inner, self.groups, self.alpha = inner, groups, alpha
        self.passes, self.randomised = inner.passes, inner.randomised
        self.limits = torch.stack([g[rank(len(g), alpha) - 1] for g in groups])
        self.look = inner.look

    def strangeness(self, seen: Seen) -> Tensor:
        strange = self.inner.strangeness(seen)
        limits = self.limits.to(strange)
        return strange - (limits[seen.z.argmax(1)] if len(limits) > 1 else limits)

    def p_values(self, strange: Tensor, answers: Tensor) -> Tensor:
        """(1 + clean rows as strange or stranger) / (1 + clean rows), float64 (n,), of scores (n,) and answers int64 (n,)."""
        found = torch.empty(len(strange), dtype=torch.float64)
        for i, (value, answer) in enumerate(zip(strange.tolist(), answers.tolist(), strict=True)):
            group = self.groups[answer if len(self.groups) > 1 else 0]
            found[i] = (1 + int((group >= value).sum())) / (1 + len(group))
        return found

    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.inner.tensors(), *self.groups)

    def told(self) -> str:
        return f"{super().told()} {self.inner.told()}"


def rank(rows: int, alpha: float) -> int:
    """Which of so many scores in ascending order has the least p-value above alpha: what exceeds it has at most alpha.

    >>> rank(99, 0.05), rank(100, 0.05), rank(19, 0.05)
    (95, 96, 19)
    """
    return rows + 1 - math.floor(alpha * (rows + 1) + 1e-9)


def p_values(target: Target, x: Tensor, *, seed: int = 0) -> Tensor:
    """The p-values float64 (n,) of inputs (n, *shape) at a target that `conformal` gave; raises `BadTarget` for any other."""
    judge = target.detector if isinstance(target, Rejecting) else None
    if not (isinstance(target, Rejecting) and isinstance(judge, Conformal)):
        raise BadTarget(f"{target.name}: only a target behind the defence 'conformal' gives p-values")
    return judge.p_values(*looked(target.target, judge.inner, x, seed))


def _detector(score: Score, target: Target, fit: Clean) -> Detector:
    if score == "max-softmax":
        return Unsure()
    if score == "energy":
        return Energy()
    known = known_of(target, fit)
    if score == "mahalanobis":
        return Gaussians(known, 1e-3)
    if score == "knn":
        return Neighbours(known, 10)
    return Density(known, 0.5)
