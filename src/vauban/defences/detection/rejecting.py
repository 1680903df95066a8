"""A target that answers "rejected" where a detector finds an input strange, and the threshold that clean rows give it."""

from __future__ import annotations

import hashlib
import math
from contextlib import AbstractContextManager
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.registry import Clean
from vauban.errors import BadData, BadTarget, NotGranted
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target
from vauban.target.around import Around
from vauban.target.surrogates import default_surrogate
from vauban.threat import Access

__all__ = ["LEAST", "Detector", "Rejected", "Rejecting", "Seen", "calibrated", "halves", "looked", "strangeness_of"]

LEAST = 5
"""Clean rows that must lie above a threshold, at least, for it to mean something: 100 rows for a false rejection of 5 %."""
CHUNK = 256
Rejected = Annotated[float, Field(gt=0, lt=1)]
"""The share of clean inputs that may be rejected."""


class Rejecting(Around):
    """The target with one more column, "rejected", which wins exactly where the detector's score exceeds the threshold.

    The column holds the highest class score plus how far the strangeness is above the threshold (over `detector.scale`), so that the margin of
    a goal is the lesser of the classification margin and the detector margin: any attack that raises a margin attacks both at once. The two
    can pull apart (an input on the way to another class is strange first), which the loss "selective" knows and the margin does not.

    Args:
        target: what answers where nothing is strange.
        detector: how strange an input looks.
        threshold: above it, the answer is "rejected".
        classes: how many the target has.
        weight: how much of a class score one unit of strangeness weighs; decides no answer, only how attacks see both.

    Raises:
        BadTarget: the target shows no scores, or has a column of its own for rejection.
    """

    kind: ClassVar[str] = "rejecting"

    def __init__(self, target: Target, detector: Detector, threshold: float, classes: int, *, weight: float = 1.0) -> None:
        super().__init__(target)
        _shows_scores(target)
        if target.reject is not None:
            raise BadTarget(f"{target.name}: the target has a column for rejection already; put one detector around it")
        self.detector, self.threshold, self.weight = detector, threshold, weight
        self.reject, self.classes = classes, classes + 1
        self.outputs = "scores"
        self.randomised = target.randomised or detector.randomised
        self.passes = target.passes * detector.passes
        inner = default_surrogate(target)
        self._stand_in = None if inner is None or inner is target else Joint(inner, self)

    @property
    def surrogate(self) -> Surrogate | None:
        """The scores and the strangeness of the inner target's own stand-in; None where the target is differentiable, or has no gradient."""
        return self._stand_in

    def joined(self, x: Tensor, model: Surrogate, draw: RowNoise | None) -> Tensor:
        """The model's class scores (n, classes) with the column "rejected" behind."""
        seen = self.detector.look(model, x, draw)
        above = (self.detector.strangeness(seen) - self.threshold) / self.detector.scale
        top = seen.z.amax(1)
        column = top + self.weight * above
        # a rounding must not hide that the score is above the threshold, be it by ever so little
        least = torch.nextafter(top.detach(), torch.full_like(top, torch.inf))
        return torch.cat([seen.z, torch.where((above > 0) & (column <= top), least, column)[:, None]], 1)

    def strangeness(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """How strange inputs (n, *shape) look, (n,), without gradient; what exceeds `threshold` is rejected."""
        with torch.no_grad():
            return self.detector.strangeness(self.detector.look(Plain(self.target), x, draw))

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.joined(x, Plain(self.target), draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.scores(x, draw).argmax(1)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self._stand_in is not None or self.access < Access.GRADIENT:
            return Target.smooth(self, x, draw)
        return self.joined(x, self.target, draw)

    def prepare(self, x: Tensor) -> None:
        self.target.prepare(x)

    def sha256(self) -> str:
        inner = self.target.sha256()
        told = [self.detector.told(), f"{self.threshold!r} {self.weight!r} {self.detector.scale!r}"]
        fitted = [hashlib.sha256(t.detach().cpu().contiguous().numpy().tobytes()).hexdigest() for t in self.detector.tensors()]
        return hashlib.sha256(" ".join([*told, *fitted, inner]).encode()).hexdigest() if inner else ""


class Joint(Surrogate):
    """The same with the stand-in of the target inside."""

    def __init__(self, model: Surrogate, whole: Rejecting) -> None:
        self.model, self.whole = model, whole
        self.access, self.passes = model.access, model.passes * whole.detector.passes

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.whole.joined(x, self.model, draw)

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()


class Plain(Surrogate):
    """A target's own scores where a detector asks for them, without gradient."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.scores(x, draw)


def calibrated(target: Target, detector: Detector, clean: Clean, rejected: float, *, weight: float = 1.0, seed: int = 0) -> Rejecting:
    """The target with this detector, at the threshold that a share of the clean rows it classifies correctly exceeds.

    Args:
        clean: held-out rows, never attacked ones, and none that the detector was fitted on.
        rejected: the share of clean inputs that may be rejected, in (0, 1). On new clean rows that the target gets right it is met in
            expectation: the threshold is the order statistic ceil((n + 1)(1 - rejected)) of n scores, as in split conformal prediction
            (Vovk et al. 2005). What the target gets wrong is rejected more often, and that is no loss.

    Raises:
        BadData: too few rows, or all scores alike, so that no threshold means anything.
        NotGranted: the detector needs more than the target shows.
    """
    strange = strangeness_of(target, detector, clean, seed)
    needed = math.ceil(LEAST / rejected)
    if len(strange) < needed:
        raise BadData(
            f"{len(strange)} clean rows that the model gets right are too few to reject {rejected:.1%} of them by; give {needed} or more, and "
            "twice as many for a detector that is fitted on half of them"
        )
    values = strange.double().sort().values
    detector.scale = spread_of(values)
    rank = min(math.ceil((len(values) + 1) * (1 - rejected)), len(values))
    return Rejecting(target, detector, float(values[rank - 1]), classes_of(target, clean), weight=weight)


def spread_of(values: Tensor) -> float:
    """Between which 90 % of sorted scores (n,) lie; raises `BadData` where they tell nothing apart."""
    spread = float(values[int(0.95 * len(values))] - values[int(0.05 * len(values))])
    if not bool(torch.isfinite(values).all()) or spread <= 0:
        raise BadData("the detector finds all clean rows equally strange, or gives scores that are not finite; it can tell nothing apart")
    return spread


def classes_of(target: Target, clean: Clean) -> int:
    """How many classes the target has."""
    _shows_scores(target)
    draw = RowNoise(torch.arange(2, device=target.device)[: len(clean)], 0, "calibration") if target.randomised else None
    return target.classes or target.scores(clean.x[:2].to(target.device), draw).shape[1]


def strangeness_of(target: Target, detector: Detector, clean: Clean, seed: int = 0) -> Tensor:
    """Strangeness of the clean rows that the target classifies correctly, float (m,), on the CPU."""
    strange, answers = looked(target, detector, clean.x, seed)
    return strange[answers == clean.y]


def looked(target: Target, detector: Detector, x: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Strangeness of inputs (n, *shape), float (n,), and the target's answers, int64 (n,), both on the CPU."""
    _shows_scores(target)
    found: list[Tensor] = []
    answers: list[Tensor] = []
    with torch.no_grad():
        for part in torch.arange(len(x)).split(CHUNK):
            ids = part.to(target.device)
            draw = RowNoise(ids, seed, "calibration") if target.randomised or detector.randomised else None
            seen = detector.look(Plain(target), x[part].to(target.device), draw)
            found.append(detector.strangeness(seen).cpu())
            answers.append(seen.z.argmax(1).cpu())
    return (torch.cat(found), torch.cat(answers)) if found else (torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def halves(clean: Clean) -> tuple[Clean, Clean]:
    """Clean rows to fit a detector on, and others to calibrate it on: rows that it was fitted on look less strange than new ones.

    A fixed shuffle, so that neither half depends on the order of the classes.
    """
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(len(clean)))
    first, second = order[::2].sort().values, order[1::2].sort().values
    return Clean(clean.x[first], clean.y[first]), Clean(clean.x[second], clean.y[second])


def _shows_scores(target: Target) -> None:
    if target.access < Access.SCORE:
        raise NotGranted(f"{target.name}: a detector needs scores, and the target shows {target.access.name.lower()}s; let it show scores")
