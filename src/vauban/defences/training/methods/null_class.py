"""Training of a class for everything that is no clean input."""

import torch
from torch import Tensor

from vauban.defences.training.inner import concerned, wider
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.measures import right_and_not_fooled
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS
from vauban.doors import Aim
from vauban.errors import BadData, BadTarget
from vauban.geometry import per_row
from vauban.settings import Count, Natural, Positive


@method(paper="Hosseini et al. 2017, arXiv:1703.04318", on=BALLS, measure=right_and_not_fooled)
def null_class(lesson: Lesson, *, steps: Count = 7, step: Positive = 0.36, attacked: Natural = 0.5, background: Natural = 0.5) -> Tensor:
    """Cross-entropy of clean inputs; and of attacked and background inputs, whose class is "rejected".

    The model has one output more than there are classes, and the target declares it: reject = K under [target]. Attacked inputs are sought anew
    in every batch, where a wrong class is ahead of the true one and of rejection, at the whole radius throughout: what is hardly changed is no
    background. It is the weight of what is to be rejected that grows with the recipe's ramp. Background is noise all over the box, and the mean of
    two inputs of different classes.
    """
    reject = column_of(lesson)
    x = lesson.climbed(Aim.margin, steps=steps, step=step, threat=wider(lesson.threat, 1 / lesson.share))
    strange = lesson.found(lambda: strangers(lesson))
    clean, found, other = lesson.scores(torch.cat([lesson.x, x, strange])).chunk(3)
    null = torch.full_like(lesson.y, reject)
    rejected = background * lesson.cross_entropy(other, null)
    about = concerned(lesson.threat.goal, lesson.y)
    if bool(about.any()):
        rejected = rejected + attacked * lesson.cross_entropy(found[about], null[about])
    return lesson.cross_entropy(clean) + lesson.share * rejected


def column_of(lesson: Lesson) -> int:
    """The target's column for rejection.

    Raises:
        BadTarget: it has none.
        BadData: rows of that class.
    """
    reject = lesson.trainee.reject
    if reject is None:
        raise BadTarget(
            f"{lesson.trainee.name}: method 'null-class' trains a column for rejection and the target declares none; give the model one output "
            "more than there are classes, and say which it is: reject = K under [target]"
        )
    if bool((lesson.y == reject).any()):
        raise BadData(f"method 'null-class': column {reject} means rejection, and rows to train on have it for their class; leave them out")
    return reject


def strangers(lesson: Lesson) -> Tensor:
    """Background inputs (n, *shape): of every other row the mean with the next row, where that is of another class, else uniform noise."""
    lo, hi = lesson.limits
    noise = lesson.noise("background").uniform(*lesson.x.shape[1:]).to(lesson.x)
    drawn = torch.as_tensor(lo) + (torch.as_tensor(hi) - lo) * noise
    mixed = (lesson.x + lesson.x.roll(-1, 0)) / 2
    mixes = (lesson.y != lesson.y.roll(-1)) & (torch.arange(len(lesson.y), device=lesson.y.device) % 2 == 0)
    return torch.where(per_row(mixes, mixed), mixed, drawn)
