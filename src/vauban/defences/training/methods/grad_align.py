"""Single-step training with gradients that point the same way all over the ball."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS, nearby, one_step
from vauban.settings import Natural, Positive


@method(paper="Andriushchenko and Flammarion 2020, arXiv:2007.02617, equation 5", on=BALLS)
def grad_align(lesson: Lesson, *, weight: Natural = 0.2, step: Positive = 1.25) -> Tensor:
    """As fgsm-rs, and `weight` times how far gradients at the clean and at a random input are apart: what catastrophic overfitting begins with."""
    found, near = lesson.searched(one_step(step)), lesson.searched(nearby)
    return lesson.cross_entropy(lesson.scores(found)) + weight * misalignment(lesson, near)


def misalignment(lesson: Lesson, near: Tensor) -> Tensor:
    """One minus the cosine between the loss's gradients at the clean and at other inputs (n, *shape), a mean that can be differentiated."""
    here, there = slope(lesson, lesson.x), slope(lesson, near)
    return (1 - F.cosine_similarity(here.flatten(1), there.flatten(1))).mean()


def slope(lesson: Lesson, x: Tensor) -> Tensor:
    """The gradient of each row's cross-entropy in its input, (n, *shape), differentiable in the weights."""
    leaf = x.detach().requires_grad_()
    loss = F.cross_entropy(lesson.scores(leaf).float(), lesson.y, reduction="sum")
    return torch.autograd.grad(loss, leaf, create_graph=True)[0]
