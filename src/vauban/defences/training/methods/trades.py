"""Accuracy and robustness as two terms with a weight between them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS
from vauban.doors import Aim, Loss
from vauban.settings import Count, Natural, Positive


@method(paper="Zhang et al. 2019, arXiv:1901.08573, algorithm 1", on=BALLS)
def trades(lesson: Lesson, *, beta: Natural = 6.0, steps: Count = 10, step: Positive = 0.225) -> Tensor:
    """Cross-entropy on clean inputs, and `beta` times how far the answers change within the radius (Kullback-Leibler)."""
    x = lesson.climbed(away_from(lesson.calm(lesson.x)), steps=steps, step=step, start=nudged(lesson))
    z = lesson.scores(lesson.x)
    return lesson.cross_entropy(z) + beta * divergence(z, lesson.scores(x)).mean()


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(attacked)) of each row, (n,), differentiable in both."""
    return F.kl_div(attacked.log_softmax(1), clean.log_softmax(1), reduction="none", log_target=True).sum(1)


def away_from(clean: Tensor) -> Loss:
    """How far an answer is from that to the clean input, (n,): the objective of the inner loop."""
    known = clean.detach().float()

    def loss(aim: Aim, z: Tensor) -> Tensor:
        return divergence(aim.of(known), z)

    return loss


def nudged(lesson: Lesson) -> Tensor:
    """The clean inputs with noise of 0.001 of their range: at the clean input itself the divergence has no gradient."""
    noise = lesson.noise("nudge").normal(*lesson.x.shape[1:]).to(lesson.x)
    lo, hi = map(torch.as_tensor, lesson.limits)
    width = (hi - lo).nan_to_num(posinf=lesson.eps)
    return torch.clamp(lesson.x + 1e-3 * width * noise, lo, hi)
