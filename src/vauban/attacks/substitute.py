"""A surrogate of the attacker's own, trained on inputs it has: with their true classes, or with what the target answers about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vauban.errors import BadData, BadPlan
from vauban.target import Own, Target, Torch
from vauban.threat import Access

BATCH = 128
HELD = 0.1
"""The share of the inputs that is kept apart to see how well the copy agrees."""


@dataclass(frozen=True, eq=False)
class Substitute:
    """A trained surrogate, and what it cost.

    Attributes:
        surrogate: to give as a threat's surrogate.
        model: the network in it, which gives logits.
        asked: questions the target answered for it: shared by all rows, so that they are no row's.
        agreement: the share of held-out inputs on which it answers as it was taught to.
    """

    surrogate: Own
    model: nn.Module
    asked: int
    agreement: float


def train_substitute(
    x: Tensor,
    y: Tensor | None = None,
    target: Target | None = None,
    *,
    classes: int | None = None,
    model: Callable[[], nn.Module] | nn.Module | None = None,
    rounds: int = 4,
    questions: int = 5000,
    step: float = 0.1,
    epochs: int = 20,
    lr: float = 1e-3,
    scores: bool = False,
    seed: int = 0,
) -> Substitute:
    """Train a surrogate from inputs of the attacker's own.

    With true classes and no target the target is asked nothing. With a target its answers are learnt, and after each round the inputs are
    joined by new ones, a step along the sign of the gradient of the score that was answered (Jacobian-based augmentation, Papernot et al. 2017,
    arXiv:1602.02697, algorithm 1), until the questions are spent.

    Args:
        x: float (n, *shape), inputs inside the box they belong to; at least 10.
        y: int64 (n,), their classes; needed where there is no target.
        target: whose answers are learnt.
        classes: how many there are; by default as many as the target has, or as y has.
        model: what is trained: a module, or what makes one; by default a small convolutional network for images and a perceptron for the rest.
        rounds: of augmentation; 0 learns the given inputs alone.
        questions: the most that the target is asked.
        step: of the augmentation, in units of the inputs.
        epochs: of Adam, in each round.
        lr: its learning rate.
        scores: learn the probabilities that the target shows, instead of its labels.
        seed: of initial weights and batches.

    Raises:
        BadData: too few inputs, or no classes to learn.
        BadPlan: settings that nothing can be done with.
    """
    check_training(x, y, target, questions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Training(x.detach().float().cpu(), target, scores).run(y, classes, model, rounds, questions, step, epochs, lr)


def check_training(x: Tensor, y: Tensor | None, target: Target | None, questions: int) -> None:
    """Whether a surrogate can be trained so at all, before anything is asked; see `train_substitute`."""
    if len(x) < 10:
        raise BadData(f"a surrogate cannot be trained on {len(x)} inputs; give at least 10, better hundreds")
    if target is None and y is None:
        raise BadData("a surrogate needs something to learn: true classes y, or a target whose answers are learnt")
    if target is not None and questions < len(x):
        raise BadPlan(f"{questions} questions do not cover the {len(x)} inputs to begin with; allow more, or give fewer inputs")


class _Training:
    """The inputs learnt so far, what they were answered, and how many questions that took."""

    def __init__(self, x: Tensor, target: Target | None, scores: bool) -> None:
        self.x, self.target, self.scores, self.asked = x, target, scores, 0
        self.lo, self.hi = float(x.min()), float(x.max())

    def run(
        self, y: Tensor | None, classes: int | None, model: Callable[[], nn.Module] | nn.Module | None,
        rounds: int, questions: int, step: float, epochs: int, lr: float,
    ) -> Substitute:  # fmt: skip
        taught = self._answers(self.x) if self.target is not None else cast("Tensor", y).cpu()
        count = (
            classes
            or (self.target.classes if self.target is not None else None)
            or int(taught.max() if taught.ndim == 1 else taught.shape[1] - 1) + 1
        )
        net = _network(model, tuple(self.x.shape[1:]), max(count, 2))
        held = max(int(HELD * len(self.x)), 1)
        test, test_taught = self.x[-held:], taught[-held:]
        x, taught = self.x[:-held], taught[:-held]
        _fit(net, x, taught, epochs, lr)
        for _ in range(rounds if self.target is not None else 0):
            room = questions - self.asked
            if room <= 0:
                break
            new = self._further(net, x, taught, step)[torch.randperm(len(x))[:room]]
            x, taught = torch.cat([x, new]), torch.cat([taught, self._answers(new)])
            _fit(net, x, taught, epochs, lr)
        net.eval().requires_grad_(requires_grad=False)
        with torch.no_grad():
            agreement = float((net(test).argmax(1) == _labels(test_taught)).float().mean())
        return Substitute(Own(Torch(net, outputs="logits"), self.asked), net, self.asked, agreement)

    def _answers(self, x: Tensor) -> Tensor:
        """What the target answers: labels int64 (n,), or probabilities (n, classes). Inputs that get no answer are taken as class 0."""
        target = cast("Target", self.target)
        if self.asked == 0:
            target.prepare(x[:BATCH].to(target.device))
        self.asked += len(x)
        parts = [part.to(target.device) for part in x.split(BATCH)]
        if self.scores and target.access >= Access.SCORE:
            return torch.cat([target.scores(part).float().softmax(1).nan_to_num(0.0).cpu() for part in parts])
        return torch.cat([target.labels(part).clamp_min(0).cpu() for part in parts])

    def _further(self, net: nn.Module, x: Tensor, taught: Tensor, step: float) -> Tensor:
        """New inputs, a step along the sign of the gradient of the answered score."""
        net.eval()
        moved: list[Tensor] = []
        for some, answer in zip(x.split(BATCH), _labels(taught).split(BATCH), strict=True):
            leaf = some.clone().requires_grad_()
            gradient = torch.autograd.grad(net(leaf).gather(1, answer[:, None]).sum(), leaf)[0]
            moved.append((some + step * gradient.sign()).clamp(self.lo, self.hi))
        return torch.cat(moved)


def _labels(taught: Tensor) -> Tensor:
    return taught if taught.ndim == 1 else taught.argmax(1)


def _fit(net: nn.Module, x: Tensor, taught: Tensor, epochs: int, lr: float) -> None:
    """Adam on cross-entropy with labels, or with probabilities."""
    net.train()
    optimiser = torch.optim.Adam(net.parameters(), lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = functional.cross_entropy(net(x[rows]), taught[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def _network(model: Callable[[], nn.Module] | nn.Module | None, shape: tuple[int, ...], classes: int) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    if model is not None:
        return model()
    if len(shape) != 3 or min(shape[1:]) < 8:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, classes)
        )
    layers: list[nn.Module] = []
    for before, after in ((shape[0], 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (shape[1] // 8) * (shape[2] // 8), 128), nn.ReLU(), nn.Linear(128, classes))
