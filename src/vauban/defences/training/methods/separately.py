"""Adversarial training of every member of an ensemble by itself."""

import torch
from torch import Tensor

from vauban.defences.training.inner import worst
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.team import team


@method(paper="Madry et al. 2018, arXiv:1706.06083, for each member")
def separately(lesson: Lesson) -> Tensor:
    """Cross-entropy of each member on what the inner loop finds for that member alone, averaged over members."""
    losses: list[Tensor] = []
    for member in team(lesson):
        x = lesson.found(
            lambda m=member: worst(m, lesson.x, lesson.y, lesson.threat, lesson.attack, ids=lesson.batch.ids, seed=lesson.seed)
        )
        losses.append(lesson.cross_entropy(member.learn(x)))
    return torch.stack(losses).mean()
