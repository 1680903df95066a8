"""A target that answers "rejected" where a detector finds an input strange."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor

from vauban.defences.registry import Clean
from vauban.errors import BadData, BadTarget, NotGranted
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target
from vauban.target.around import Around
from vauban.target.surrogates import default_surrogate
from vauban.threat import Access

LEAST = 5
"""Clean rows that must lie above a threshold, at least, for it to mean something: 100 rows for a false rejection of 5 %."""


class Detector(ABC):
    """How strange inputs look, higher meaning stranger.

    Attributes:
        scale: how far apart scores of clean inputs lie, so that they can be weighed against those of classes.
    """

    scale: float = 1.0

    @abstractmethod
    def strangeness(self, x: Tensor, z: Tensor, model: Surrogate, draw: RowNoise | None = None) -> Tensor:
        """Strangeness (n,) of inputs (n, *shape) whose class scores are z (n, classes), differentiable in both wherever it can be.

        Args:
            model: what gave those scores, for detectors that ask it about other inputs too; the real one, or what gradients are taken from.
        """

    def tensors(self) -> Sequence[Tensor]:
        """What was fitted, for the fingerprint."""
        return ()


class Rejecting(Around):
    """The target with one more column, "rejected", which wins exactly where the detector's score exceeds the threshold.

    The column holds the highest class score plus how far the strangeness is above the threshold (over `detector.scale`), so that the margin of
    a goal is the lesser of the classification margin and the detector margin: any attack that raises a margin attacks both at once.

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
        if target.access < Access.SCORE:
            raise BadTarget(f"{target.name}: a detector needs scores, and the target shows {target.access.name.lower()}s")
        if target.reject is not None:
            raise BadTarget(f"{target.name}: the target has a column for rejection already; put one detector around it")
        self.detector, self.threshold, self.weight = detector, threshold, weight
        self.reject, self.classes = classes, classes + 1
        self.outputs = "scores"
        inner = default_surrogate(target)
        self._stand_in = None if inner is None or inner is target else Joint(inner, self)

    @property
    def surrogate(self) -> Surrogate | None:
        """The scores and the strangeness of the inner target's own stand-in; None where the target is differentiable, or has no gradient."""
        return self._stand_in

    def joined(self, x: Tensor, z: Tensor, model: Surrogate, draw: RowNoise | None) -> Tensor:
        """Class scores z (n, classes) with the column "rejected" behind."""
        above = (self.detector.strangeness(x, z, model, draw) - self.threshold) / self.detector.scale
        return torch.cat([z, (z.amax(1) + self.weight * above)[:, None]], 1)

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.joined(x, self.target.scores(x, draw), _Plain(self.target), draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.scores(x, draw).argmax(1)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self._stand_in is not None or self.access < Access.GRADIENT:
            return Target.smooth(self, x, draw)
        return self.joined(x, self.target.smooth(x, draw), self.target, draw)

    def prepare(self, x: Tensor) -> None:
        self.target.prepare(x)

    def sha256(self) -> str:
        inner = self.target.sha256()
        told = [type(self.detector).__name__, f"{self.threshold!r} {self.weight!r} {self.detector.scale!r}"]
        fitted = [hashlib.sha256(t.detach().cpu().contiguous().numpy().tobytes()).hexdigest() for t in self.detector.tensors()]
        return hashlib.sha256(" ".join([*told, *fitted, inner]).encode()).hexdigest() if inner else ""


class Joint(Surrogate):
    """The same with the stand-in of the target inside."""

    def __init__(self, model: Surrogate, whole: Rejecting) -> None:
        self.model, self.whole = model, whole
        self.access, self.passes = model.access, model.passes

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.whole.joined(x, self.model.smooth(x, draw), self.model, draw)

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()


class _Plain(Surrogate):
    """A target's own scores where a detector asks for them, without gradient."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.scores(x, draw)


def calibrated(target: Target, detector: Detector, clean: Clean, rejected: float, *, weight: float = 1.0, seed: int = 0) -> Rejecting:
    """The target with this detector, at the threshold that a share of the clean rows it classifies correctly exceeds.

    Args:
        clean: held-out rows, never attacked ones.
        rejected: the share of clean inputs that may be rejected, in (0, 1). On new clean rows it is met in expectation: the threshold is the
            order statistic ceil((n + 1)(1 - rejected)) of n scores, as in split conformal prediction (Vovk et al. 2005).

    Raises:
        BadData: too few rows, or all scores alike, so that no threshold means anything.
        NotGranted: the detector needs more than the target shows.
    """
    if target.access < Access.SCORE:
        raise NotGranted(f"{target.name}: a detector needs scores, and the target shows {target.access.name.lower()}s")
    strange = strangeness_of(target, detector, clean, seed)
    needed = math.ceil(LEAST / rejected)
    if len(strange) < needed:
        raise BadData(
            f"{len(strange)} clean rows that the model gets right are too few to reject {rejected:.1%} of them by; give {needed} or more"
        )
    values = strange.double().sort().values
    spread = float(values[int(0.95 * len(values))] - values[int(0.05 * len(values))])
    if not bool(torch.isfinite(values).all()) or spread <= 0:
        raise BadData("the detector finds all clean rows equally strange, or gives scores that are not finite; it can tell nothing apart")
    detector.scale = spread
    rank = min(math.ceil((len(values) + 1) * (1 - rejected)), len(values))
    return Rejecting(target, detector, float(values[rank - 1]), classes_of(target, clean), weight=weight)


def classes_of(target: Target, clean: Clean) -> int:
    """How many classes the target has."""
    return target.classes or target.scores(clean.x[:2].to(target.device)).shape[1]


def strangeness_of(target: Target, detector: Detector, clean: Clean, seed: int = 0) -> Tensor:
    """Strangeness of the clean rows that the target classifies correctly, float (m,), on the CPU."""
    found: list[Tensor] = []
    ids = torch.arange(len(clean))
    with torch.no_grad():
        for part in ids.split(256):
            x = clean.x[part].to(target.device)
            draw = RowNoise(part.to(target.device), seed, "calibration") if target.randomised else None
            z = target.scores(x, draw)
            right = z.argmax(1).cpu() == clean.y[part]
            found.append(detector.strangeness(x, z, _Plain(target), draw).cpu()[right])
    return torch.cat(found)
