"""The confusable-skeleton defence: a target that reads every text as a person would see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

from torch import Tensor

from vauban.doors.text.characters import skeleton
from vauban.doors.text.target import Objective, TextTarget


class Normalised(TextTarget):
    """A text target behind a normaliser: by default `skeleton`, which undoes look-alikes, unseen characters, reorderings and backspaces.

    An attacker that holds it differentiates through it: the gradient is that of the model at the normalised text, and candidates are measured
    after they are normalised.

    Args:
        target: the target that gets the normalised texts.
        normalise: what is done to each text first.
    """

    kind: ClassVar[str] = "text-normalised"

    def __init__(self, target: TextTarget, normalise: Callable[[str], str] = skeleton) -> None:
        self.target, self.normalise = target, normalise
        self.name, self.access, self.reject, self.classes = f"{target.name}, normalised", target.access, target.reject, target.classes

    def scores(self, texts: Sequence[str]) -> Tensor:
        z = self.target.scores(self._normalised(texts))
        self.outputs = self.target.outputs
        return z

    def labels(self, texts: Sequence[str]) -> Tensor:
        return self.target.labels(self._normalised(texts))

    def slope(self, texts: Sequence[str], objective: Objective) -> tuple[Tensor, list[Tensor]]:
        return self.target.slope(self._normalised(texts), objective)

    def embed(self, texts: Sequence[str]) -> list[Tensor]:
        return self.target.embed(self._normalised(texts))

    def held(self) -> AbstractContextManager[None]:
        return self.target.held()

    def sha256(self) -> str:
        return self.target.sha256()

    def parameters_count(self) -> int | None:
        return self.target.parameters_count()

    def _normalised(self, texts: Sequence[str]) -> list[str]:
        return [self.normalise(t) for t in texts]
