"""Training on inputs that were made for other models, which do not learn to hide their gradients."""

from functools import cache
from typing import Any

from torch import Tensor, nn

from vauban.attacks import find
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.plain import plainly_trained
from vauban.defences.training.single_step import BALLS
from vauban.errors import BadTarget
from vauban.settings import Count, Share
from vauban.target import Target, Torch
from vauban.user_code import call
from vauban.user_code import find as named

STATIC = "static"


def with_static_models(lesson: Lesson, *, sources: tuple[str, ...], members: int, member_epochs: int, **_: Any) -> None:
    """Load the sources, so that what is wrong with them is told at once; or train as many of our own as are wanted, and keep their weights."""
    for source in sources:
        loaded(source)
    for i in range(0 if sources else members):
        weights = plainly_trained(lesson, member_epochs, f"{STATIC} {i}", anew=True)
        lesson.memory.update({f"{STATIC} {i}.{name}": t for name, t in weights.items()})


@method(paper="Tramèr et al. 2018, arXiv:1705.07204, section 4.1", on=BALLS, prepare=with_static_models)
def ensemble_adversarial(
    lesson: Lesson, *, sources: tuple[str, ...] = (), members: Count = 2, member_epochs: Count = 5, alpha: Share = 0.5
) -> Tensor:
    """Half the loss on clean inputs, half on single steps (R+FGSM) against a source drawn for each batch: the model itself or a static one.

    It stops transferred inputs, not an attacker with gradients. `sources` are trained models, "file.py:function" each; without them, `members`
    models of the same architecture are trained plainly from other weights before the first step.
    """
    count = len(sources) or members
    lot = min(int(lesson.lot("source") * (count + 1)), count)
    source = lesson.trainee if lot == count else static(lesson, sources, lot)
    x = lesson.attacked(attack=find("r-fgsm").bind(alpha=alpha), source=source)
    return (lesson.cross_entropy(lesson.scores(lesson.x)) + lesson.cross_entropy(lesson.scores(x))) / 2


def static(lesson: Lesson, sources: tuple[str, ...], number: int) -> Target:
    """One of the static models."""
    if sources:
        return loaded(sources[number])
    return lesson.trainee.with_weights(lesson.remembered(f"{STATIC} {number}"))


@cache
def loaded(source: str) -> Target:
    """The trained model that a function of a file makes.

    Raises:
        BadTarget: there is no such file or function, or it makes something else.
    """
    made: object = call(named(source), source)
    if isinstance(made, Target):
        return made
    if not isinstance(made, nn.Module):
        raise BadTarget(f"{source} gives {type(made).__name__}; a source of ensemble-adversarial training is a torch module")
    return Torch(made)
