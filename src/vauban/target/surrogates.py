"""Stand-ins to take gradients from: another model, the mean of several, a straight-through step (BPDA), an expectation over draws (EOT)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.target.base import Surrogate, Target, held_all
from vauban.threat import Access


class Own(Surrogate):
    """A model the attacker has itself, so that it needs nothing of the target: the surrogate of a transfer attack.

    Args:
        model: the model.
        asked: questions that the target answered so that the attacker could have it.
    """

    access = Access.NONE

    def __init__(self, model: Surrogate, asked: int = 0) -> None:
        self.model, self.passes, self.asked = model, model.passes, asked

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.model.smooth(x, draw)

    def held(self):
        return self.model.held()


class Mean(Surrogate):
    """The mean of the scores of several surrogates (Liu et al. 2017, arXiv:1611.02770, ensemble in logits)."""

    def __init__(self, members: Sequence[Surrogate]) -> None:
        if not members:
            raise BadPlan("the mean of no surrogates: give at least one")
        self.members = tuple(members)
        self.access = max(m.access for m in members)
        self.passes = sum(m.passes for m in members)
        self.asked = sum(m.asked for m in self.members)

    def ready(self) -> None:
        for member in self.members:
            member.ready()
        self.asked = sum(m.asked for m in self.members)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        total = self.members[0].smooth(x, draw)
        for member in self.members[1:]:
            total = total + member.smooth(x, draw)
        return total / len(self.members)

    def held(self) -> AbstractContextManager[None]:
        return held_all(self.members)


View = Callable[[Tensor, RowNoise | None], Tensor]
"""A differentiable change of inputs (n, *shape), to inputs of the same shape; what is random about it is drawn from the rows' noise."""


class Viewed(Surrogate):
    """A surrogate that sees its input through a differentiable change: resized and padded, scaled, mixed with others.

    Args:
        model: what follows the change.
        view: the change.
    """

    randomised = True

    def __init__(self, model: Surrogate, view: View) -> None:
        self.model, self.view = model, view
        self.access, self.passes = model.access, model.passes

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.model.smooth(self.view(x, None if draw is None else draw.fork("view")), draw)

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()


class StraightThrough(Surrogate):
    """BPDA (Athalye et al. 2018, arXiv:1802.00420): forward through a step without useful gradient, backward as if it were another.

    Args:
        step: the step before the model, such as rounding; (n, *shape) to the shape the model takes.
        model: what follows it.
        backward: a differentiable stand-in for the step; the identity by default, which needs equal shapes.
    """

    access = Access.GRADIENT

    def __init__(self, step: Callable[[Tensor], Tensor], model: Surrogate, backward: Callable[[Tensor], Tensor] | None = None) -> None:
        self.step, self.model, self.backward = step, model, backward
        self.access, self.passes = model.access, model.passes

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            hard = self.step(x)
        soft = x if self.backward is None else self.backward(x)
        if soft.shape != hard.shape:
            raise BadPlan(
                f"BPDA: the step gives {tuple(hard.shape)} and its stand-in {tuple(soft.shape)}; give a backward of the same shape"
            )
        return self.model.smooth(soft + (hard - soft).detach(), draw)

    def held(self):
        return self.model.held()


class Expectation(Surrogate):
    """EOT (Athalye et al. 2018, arXiv:1707.07397): the mean of the scores over draws of a randomised surrogate, each with noise of its own."""

    def __init__(self, model: Surrogate, draws: int = 16) -> None:
        if draws < 1:
            raise BadPlan(f"draws = {draws} must be at least 1")
        self.model, self.draws = model, draws
        self.access, self.passes = model.access, model.passes * draws

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        total = self.model.smooth(x, None if draw is None else draw.fork(0))
        for i in range(1, self.draws):
            total = total + self.model.smooth(x, None if draw is None else draw.fork(i))
        return total / self.draws

    def held(self):
        return self.model.held()


def default_surrogate(target: Target) -> Surrogate | None:
    """What an attacker that holds the target takes gradients from: its named stand-in, itself, or nothing."""
    if target.surrogate is not None:
        return target.surrogate
    return target if target.access >= Access.GRADIENT else None
