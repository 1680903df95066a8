"""A target behind an input step that draws afresh for each question, such as resizing by a random factor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from vauban.noise import RowNoise
from vauban.target.around import Around
from vauban.target.base import Surrogate, Target
from vauban.target.steps import told
from vauban.target.surrogates import Expectation, Viewed, default_surrogate

Drawn = Callable[[Tensor, RowNoise], Tensor]
"""A change of inputs (n, *shape) in which row i draws from stream i of the noise, and from no other."""


class RandomStep(Around):
    """What answers is the target, what it is asked about is `step(x, draw)`; gradients are the mean over draws of the attacker's own (EOT).

    Args:
        step: the change; it may draw from the noise of the rows that it is given, and nowhere else.
        target: what follows it.
        draws: how many the gradient is the mean over.
        differentiable: the step's own gradient is a useful one; otherwise it is taken for the identity (BPDA), which needs equal shapes.

    >>> from vauban.target import Torch
    >>> noisy = RandomStep(lambda x, draw: x + 0.1 * draw.normal(*x.shape[1:]), Torch(torch.nn.Linear(4, 3), outputs="logits"), draws=8)
    >>> noisy.randomised, noisy.surrogate.passes
    (True, 8)
    """

    kind: ClassVar[str] = "random-step"

    def __init__(self, step: Drawn, target: Target, *, draws: int = 16, differentiable: bool = True) -> None:
        super().__init__(target)
        self.step, self.draws, self.differentiable = step, draws, differentiable
        self.randomised, self.passes = True, target.passes
        inner = default_surrogate(target)
        self._stand_in = None if inner is None else Expectation(Viewed(inner, self._view), draws)

    @property
    def surrogate(self) -> Surrogate | None:
        """The expectation over draws; None where the target has no gradient."""
        return self._stand_in

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.target.scores(self._changed(x, draw), draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.target.labels(self._changed(x, draw), draw)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """One draw has a gradient of its own, and `surrogate` a better one."""
        return Target.smooth(self, x, draw)

    def prepare(self, x: Tensor) -> None:
        with torch.no_grad():
            self.target.prepare(self._changed(x, None))
        self.outputs, self.classes = self.target.outputs, self.target.classes

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        return x

    def sha256(self) -> str:
        """The target's, with the step; empty where the target has none."""
        inner = self.target.sha256()
        return hashlib.sha256(f"{told(self.step)} {self.draws} {inner}".encode()).hexdigest() if inner else ""

    def _changed(self, x: Tensor, draw: RowNoise | None) -> Tensor:
        rows = RowNoise(torch.arange(len(x), device=x.device)) if draw is None else draw
        return self.step(x, rows.fork("step"))

    def _view(self, x: Tensor, draw: RowNoise | None) -> Tensor:
        if self.differentiable:
            return self._changed(x, draw)
        with torch.no_grad():
            hard = self._changed(x, draw)
        return x + (hard - x).detach()
