"""Adversarial training for nothing: the gradient that changes the weights also changes the inputs."""

from typing import cast

import torch
from torch import Tensor

from vauban.defences.training.inner import concerned
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS
from vauban.geometry import Body, body_of, per_row
from vauban.settings import Count
from vauban.threat import Ball

CHANGE = "change"


@method(paper="Shafahi et al. 2019, arXiv:1904.12843, algorithm 1", replays="replays", on=BALLS)
def free(lesson: Lesson, *, replays: Count = 8) -> Tensor:
    """Each batch `replays` times in a row; every step takes the inputs one step up as it takes the weights one down.

    Give a `replays`-th of the epochs. The change goes on from batch to batch, by place in the batch, as published.
    """
    body, limits = ball_of(lesson)
    kept = lesson.memory.get(CHANGE)
    change = torch.zeros_like(lesson.x) if kept is None else carried(kept, lesson.x)
    x = body.project(lesson.x, lesson.x + change, limits).requires_grad_()

    def climb(gradient: Tensor) -> None:
        room = (x.detach() - limits[0], limits[1] - x.detach())
        moved = body.project(lesson.x, x.detach() + body.steepest(gradient.float(), lesson.eps, room), limits) - lesson.x
        moved = torch.where(per_row(concerned(lesson.threat.goal, lesson.y), moved), moved, 0.0)
        lesson.memory[CHANGE] = moved if kept is None else torch.cat([moved, kept[len(moved) :]])

    x.register_hook(climb)
    return lesson.cross_entropy(lesson.scores(x))


def ball_of(lesson: Lesson) -> tuple[Body, tuple[Tensor, Tensor]]:
    """The ball at its present radius, and the least and the greatest value of each feature."""
    body = body_of(cast("Ball", lesson.threat.perturbation), lesson.x)
    return body, body.limits(lesson.x)


def carried(kept: Tensor, x: Tensor) -> Tensor:
    """The change of as many rows as there are now; 0 for places that had none yet."""
    if len(kept) >= len(x):
        return kept[: len(x)]
    return torch.cat([kept, torch.zeros_like(x[len(kept) :])])
