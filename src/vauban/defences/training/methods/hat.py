"""TRADES with inputs beyond the radius, which a plainly trained helper labels."""

from typing import Any

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.methods.trades import away_from, divergence, nudged
from vauban.defences.training.plain import plainly_trained
from vauban.defences.training.single_step import BALLS
from vauban.settings import Count, Natural, Positive

HELPER = "helper"


def with_helper(lesson: Lesson, *, helper_epochs: int, **_: Any) -> None:
    """Train the helper, and keep its weights."""
    weights = plainly_trained(lesson, helper_epochs, HELPER, anew=False)
    lesson.memory.update({f"{HELPER}.{name}": t for name, t in weights.items()})


@method(paper="Rade and Moosavi-Dezfooli 2022, ICLR, openreview Azh9QBQ4tR7, algorithm 1", on=BALLS, prepare=with_helper)
def hat(
    lesson: Lesson,
    *,
    beta: Natural = 2.5,
    gamma: Natural = 0.5,
    reach: Positive = 2.0,
    steps: Count = 10,
    step: Positive = 0.225,
    helper_epochs: Count = 5,
) -> Tensor:
    """TRADES, and `gamma` times cross-entropy at `reach` times the change, with the answer of a plainly trained helper to the change itself.

    The helper begins as the model is, and is trained before the first step on the same rows; its weights are part of every checkpoint.
    """
    x = lesson.climbed(away_from(lesson.calm(lesson.x)), steps=steps, step=step, start=nudged(lesson))
    helper = lesson.trainee.with_weights(lesson.remembered(HELPER))
    said = helper.scores(x).argmax(1)
    clean, near, far = lesson.scores(lesson.x), lesson.scores(x), lesson.scores(lesson.x + reach * (x - lesson.x))
    return lesson.cross_entropy(clean) + beta * divergence(clean, near).mean() + gamma * lesson.cross_entropy(far, said)
