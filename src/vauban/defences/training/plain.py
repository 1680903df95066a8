"""Models beside the one in training, of the same architecture and plainly trained: helpers, and sources of transferred inputs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from torch import Tensor, nn

from vauban.defences.training.inner import mixed
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import find
from vauban.defences.training.steps import Steps
from vauban.defences.training.trainee import drawing


def plainly_trained(lesson: Lesson, epochs: int, purpose: str, *, anew: bool) -> dict[str, Tensor]:
    """The weights of a twin of the model after plain training on the same rows, with the optimiser and the augmentation of the recipe.

    Args:
        lesson: any of the training; only the model, the rows and the recipe matter.
        epochs: how often every row is seen.
        purpose: what the seed is derived for.
        anew: whether layers that know how (`reset_parameters`) begin from random weights; otherwise all begin as the model is now.
    """
    seed = mixed(lesson.recipe.seed, purpose)
    twin = lesson.trainee.twin(deepcopy(lesson.trainee.model))
    if anew:
        with drawing(seed, lesson.trainee.device):
            _forgotten(twin.model)
    recipe = replace(lesson.recipe, epochs=epochs, seed=seed, ema=0.0, awp=0.0, input_gradient=0.0, jacobian=0.0, spectral=0.0)
    steps = Steps(twin, lesson.rows, lesson.threat, lesson.attack, recipe, find("standard").bind())
    for number in range(1, epochs + 1):
        steps.epoch(number, lambda step, loss: None)
    return {name: t.detach().clone() for name, t in twin.model.state_dict().items()}


def _forgotten(model: nn.Module) -> None:
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
