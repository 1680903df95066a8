"""One batch in training: what a way of training may ask about it. The methods in `methods` are functions from a lesson to a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.attacks import Attack
from vauban.defences.training.inner import climbed, mixed, searched, worst
from vauban.defences.training.recipe import Recipe
from vauban.defences.training.rows import Part
from vauban.defences.training.trainee import Trainee
from vauban.doors import Loss, Oracle
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Threat


@dataclass(eq=False)
class Lesson:
    """A batch, the model in training, and the threat at its present radius.

    Inputs that were searched for are kept in the order they were asked for: where a loss is taken a second time at moved weights (AWP), it is
    taken at the same inputs.

    Attributes:
        trainee: the model, in place.
        batch: its rows on the model's device.
        threat: what to train against, its radius as far as it has grown.
        attack: the inner loop of the recipe.
        recipe: how the model is trained.
        epoch: counted from 1.
        share: how much of the radius has grown, in (0, 1].
        done: how much of the training is done, in [0, 1].
        rows: all rows that are trained on, on the CPU, for methods that draw others.
        memory: what a method keeps from lesson to lesson; part of every checkpoint, so tensors only; new ones, never changed in place.
        replay: how often this batch was seen before, in the same turn.
    """

    trainee: Trainee
    batch: Part
    threat: Threat
    attack: Attack
    recipe: Recipe
    epoch: int
    share: float
    done: float
    rows: Part
    memory: dict[str, Tensor]
    replay: int = 0
    _kept: list[Any] = field(default_factory=list[Any])
    _next: int = 0

    @property
    def x(self) -> Tensor:
        """Clean inputs (n, *shape)."""
        return self.batch.x

    @property
    def y(self) -> Tensor:
        """True classes, int64 (n,)."""
        return self.batch.y

    @property
    def eps(self) -> float:
        """The present radius."""
        return self.threat.perturbation.eps

    @property
    def limits(self) -> tuple[float | Tensor, float | Tensor]:
        """The least and the greatest value of the inputs; tensors that broadcast where features have their own."""
        allowed = self.threat.perturbation
        ends = (torch.as_tensor(end, dtype=self.x.dtype, device=self.x.device) for end in (allowed.lo, allowed.hi))
        lo, hi = (end if end.ndim == 0 else end.view(1, *self.x.shape[1:]) for end in ends)
        return lo, hi

    @property
    def seed(self) -> int:
        """Of this batch's searches; each epoch and each replay draws anew."""
        return mixed(self.recipe.seed, "attack", self.epoch, *([self.replay] if self.replay else []))

    def noise(self, *purpose: str | int) -> RowNoise:
        """Random numbers that belong to the rows, for one purpose: the same whatever the batch."""
        return RowNoise(self.batch.ids, self.seed, *purpose)

    def lot(self, *purpose: str | int) -> float:
        """One random number in [0, 1) for the whole batch, whatever the order of its rows."""
        return float(RowNoise(self.batch.ids.min().view(1), self.seed, *purpose).uniform(1))

    def scores(self, x: Tensor) -> Tensor:
        """Scores (n, classes) in training mode, differentiable in the weights and in x."""
        return self.trainee.learn(x)

    def calm(self, x: Tensor) -> Tensor:
        """Scores in evaluation mode, without gradient."""
        return self.trainee.scores(x)

    def remembered(self, name: str) -> dict[str, Tensor]:
        """What is kept in memory under a name and a dot, such as the weights of a model, by what follows the dot."""
        return {key.removeprefix(f"{name}."): t for key, t in self.memory.items() if key.startswith(f"{name}.")}

    def cross_entropy(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Mean cross-entropy with the recipe's label smoothing; of the true classes by default."""
        return F.cross_entropy(z, self.y if y is None else y, label_smoothing=self.recipe.label_smoothing)

    def attacked(self, *, attack: Attack | None = None, source: Target | None = None, threat: Threat | None = None) -> Tensor:
        """What the inner loop of the recipe finds: worst inputs (n, *shape), the first rows left clean where the recipe has a clean share.

        Args:
            attack: in place of the recipe's.
            source: the model that is attacked, in place of the one in training.
            threat: what it may do, in place of the present threat.
        """
        return self.found(lambda: self._attacked(attack or self.attack, source or self.trainee, threat or self.threat))

    def searched(self, search: Callable[[Oracle], Tensor]) -> Tensor:
        """What a search of the method's own gives for the rows in view of an oracle: of all rows, (n, *shape), the others as they are.

        Nothing is put into radius or box but by the search.
        """
        return self.found(lambda: searched(self.trainee, self.batch, self.threat, search, self.seed))

    def climbed(self, loss: Loss, *, steps: int, step: float, start: Tensor | None = None, threat: Threat | None = None) -> Tensor:
        """Inputs (n, *shape) after projected gradient ascent on any objective, model in evaluation mode.

        Args:
            loss: (aim, z) to values (n,), to be raised; `aim.of(t)` gives per-row constants of the batch in the order of the answers.
            steps: how many.
            step: the length of each, as a share of the radius.
            start: where from (n, *shape); by default a random point of the ball.
            threat: another than the lesson's.
        """
        return self.found(lambda: climbed(self.trainee, self.batch, threat or self.threat, loss, steps, step, start, self.seed))

    def found(self, search: Callable[[], Tensor]) -> Tensor:
        """What a search finds, searched once however often the loss is taken."""
        if self._next == len(self._kept):
            self._kept.append(search().detach())
        self._next += 1
        return self._kept[self._next - 1]

    def again(self) -> None:
        """The loss is about to be taken anew, at the same inputs."""
        self._next = 0

    def _attacked(self, attack: Attack, source: Target, threat: Threat) -> Tensor:
        clean = round(self.recipe.clean_share * len(self.batch))
        part = self.batch.take(torch.arange(clean, len(self.batch), device=self.x.device))
        if not len(part):
            return self.x
        found = worst(source, part.x, part.y, threat, attack, ids=part.ids, seed=self.seed)
        return torch.cat([self.x[:clean], found])
