"""Members of an ensemble that each learn what the others overlook."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vauban.defences.training.inner import concerned
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.team import team
from vauban.defences.training.trainee import Trainee
from vauban.geometry import per_row
from vauban.geometry.make import space_of
from vauban.settings import Count, Positive


@method(paper="Yang et al. 2020, arXiv:2009.14720, algorithm 1")
def dverge(lesson: Lesson, *, steps: Count = 10, step: Positive = 0.2, attacked: bool = True) -> Tensor:
    """Each member learns to answer rightly on inputs that a hidden layer of another member takes for something else: its non-robust features.

    The layer is drawn anew in every epoch. With `attacked`, cross-entropy of each member on attacked inputs is added.
    """
    members = team(lesson)
    other = lesson.noise("source").bits(1)[:, 0].argsort(stable=True).to(lesson.x.device)
    distilled = [lesson.found(lambda m=m: _distilled(lesson, m, other, steps, step)) for m in members]
    total = lesson.x.new_zeros(())
    for i, learner in enumerate(members):
        for j, x in enumerate(distilled):
            if i != j:
                total = total + lesson.cross_entropy(learner.learn(x))
    total = total / (len(members) * (len(members) - 1))
    if attacked:
        x = lesson.attacked()
        total = total + torch.stack([lesson.cross_entropy(m.learn(x)) for m in members]).mean()
    return total


def _distilled(lesson: Lesson, member: Trainee, other: Tensor, steps: int, step: float) -> Tensor:
    """Inputs near the batch that a layer of the member takes for those of other rows: least squared distance of its activations."""
    body = space_of(lesson.threat.perturbation, lesson.x[:1]).body
    layer = layers(member.model)[lesson.epoch % len(layers(member.model))]
    with member.held(), activations(layer) as seen:
        member.smooth(lesson.x[other])
        wanted = seen().detach()
        x = lesson.x
        limits = body.limits(lesson.x)
        for _ in range(steps):
            at = x.detach().requires_grad_()
            member.smooth(at)
            (down,) = torch.autograd.grad((seen() - wanted).flatten(1).square().sum(), at)
            x = body.project(lesson.x, x + body.steepest(-down, step * lesson.eps), limits)
    return torch.where(per_row(concerned(lesson.threat.goal, lesson.y), x), x, lesson.x)


def layers(model: nn.Module) -> list[nn.Module]:
    """The layers with weights, but the last: those whose activations are features."""
    found: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    return found[:-1] or found


@contextmanager
def activations(layer: nn.Module) -> Generator[Callable[[], Tensor]]:
    """What a layer gave in the last pass."""
    held: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[object, ...], answer: Tensor) -> None:
        held[:] = [answer]

    handle = layer.register_forward_hook(keep)
    try:
        yield lambda: held[0]
    finally:
        handle.remove()
