"""A target behind an input step such as rounding or compression."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor

from vauban.noise import RowNoise
from vauban.target.around import Around
from vauban.target.base import Surrogate, Target
from vauban.target.steps import told
from vauban.target.surrogates import StraightThrough, default_surrogate


class Preprocessed(Around):
    """What answers is the target, what it is asked about is `step(x)`; gradients go straight through the step (BPDA) or through its code.

    Args:
        step: (n, *shape) to what the target takes, row by row, without randomness.
        target: what follows the step.
        backward: a differentiable stand-in for the step's gradient; the identity by default, which needs a step that keeps the shape.
        soft: a differentiable stand-in for the whole step, so near to it that an attacker takes its values too.
        differentiable: the step's own gradient is a useful one.

    >>> from vauban.target import Torch
    >>> behind = Preprocessed(lambda x: (x * 255).round() / 255, Torch(torch.nn.Linear(4, 3)))
    >>> type(behind.surrogate).__name__
    'StraightThrough'
    """

    kind: ClassVar[str] = "preprocessed"

    def __init__(
        self,
        step: Callable[[Tensor], Tensor],
        target: Target,
        *,
        backward: Callable[[Tensor], Tensor] | None = None,
        soft: Callable[[Tensor], Tensor] | None = None,
        differentiable: bool = False,
    ) -> None:
        super().__init__(target)
        self.step, self.differentiable, self.passes = step, differentiable, target.passes
        self._instead = [part for part in (backward, soft) if part is not None]
        self._stand_in = self._behind(backward, step if differentiable else soft)

    def _behind(self, backward: Callable[[Tensor], Tensor] | None, soft: Callable[[Tensor], Tensor] | None) -> Surrogate | None:
        inner = default_surrogate(self.target)
        if inner is None or (self.differentiable and inner is self.target):
            return None
        return StraightThrough(self.step, inner, backward) if soft is None else Behind(soft, inner)

    @property
    def surrogate(self) -> Surrogate | None:
        """The target behind a straight-through step; None where the step is differentiable or the target has no gradient."""
        return self._stand_in

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.target.scores(self.step(x), draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.target.labels(self.step(x), draw)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.smooth(self.step(x), draw) if self.differentiable else Target.smooth(self, x, draw)

    def prepare(self, x: Tensor) -> None:
        with torch.no_grad():
            self.target.prepare(self.step(x))
        self.outputs, self.classes = self.target.outputs, self.target.classes

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        return x

    def sha256(self) -> str:
        """The target's, with the step and what it was fitted to; empty where the target has none."""
        inner = self.target.sha256()
        steps = " ".join(map(told, (self.step, *self._instead)))
        return hashlib.sha256(f"{steps} {inner}".encode()).hexdigest() if inner else ""


class Behind(Surrogate):
    """A surrogate behind a differentiable step."""

    def __init__(self, step: Callable[[Tensor], Tensor], model: Surrogate) -> None:
        self.step, self.model = step, model
        self.access, self.passes = model.access, model.passes

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.model.smooth(self.step(x), draw)

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()
