"""The members of an ensemble in training: each a trainee of its own, fed as the whole is."""

from __future__ import annotations

from vauban.defences.ensembles.together import Together
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.trainee import Trainee
from vauban.errors import BadTarget


def team(lesson: Lesson) -> list[Trainee]:
    """The members of the ensemble in training.

    Raises:
        BadTarget: the model is no ensemble.
    """
    whole = lesson.trainee
    if not isinstance(whole.model, Together):
        raise BadTarget(
            f"{whole.name}: this way of training is for ensembles, and the model is a {type(whole.model).__name__}; make it with "
            "vauban.defences.ensembles.Together"
        )
    members: list[Trainee] = []
    for model in whole.model.members:
        member = Trainee.of(whole)
        member.model, member.outputs = model, "logits"
        members.append(member)
    return members
