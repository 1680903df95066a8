"""A person's own preprocessing function before the model, with the stand-in for its gradient that an attacker would take."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vauban.defences.input.owed import THROUGH
from vauban.defences.input.stand_in import trained_stand_in
from vauban.defences.registry import Clean, defence
from vauban.errors import BadPlan, BadTarget
from vauban.settings import Count, Positive
from vauban.target import Preprocessed, Target
from vauban.user_code import find, is_code

CLAIMS = "whatever its author claims; nothing is known of it"
SOURCE = "backward pass differentiable approximation: Athalye et al. 2018, arXiv:1802.00420, section 4"


@defence(
    "input",
    claims=CLAIMS,
    adaptive="straight through the step (BPDA), through its own gradient, or through a stand-in that its author gives",
    paper=SOURCE,
    owes=THROUGH,
)
def own_step(target: Target, *, load: str, gradient: str = "identity", as_numpy: bool = True) -> Target:
    """Puts your own function before the model: `load = "file.py:function"`, from inputs (n, *shape) to what the model takes.

    `gradient`: "identity" (BPDA), "own" where the function is differentiable torch code (then as_numpy = false), or "file.py:function", a
    differentiable stand-in in torch. Where none of them is any good, `imitated-step` trains one.
    """
    step = OwnStep(load, as_numpy=as_numpy)
    if gradient == "identity":
        return Preprocessed(step, target)
    if gradient != "own":
        if not is_code(gradient):
            raise BadPlan(f'own-step: gradient = {gradient!r}; say "identity", "own", or a differentiable function as "file.py:function"')
        return Preprocessed(step, target, backward=OwnStep(gradient, as_numpy=False))
    if as_numpy:
        raise BadPlan(
            'own-step: a function of numpy arrays has no gradient of its own; take torch tensors with as_numpy = false, or gradient = "identity"'
        )
    return Preprocessed(step, target, differentiable=True)


@defence(
    "input",
    claims=CLAIMS,
    adaptive="through a network trained to imitate the step, under the step's own output (BPDA)",
    paper=SOURCE,
    owes=THROUGH,
)
def imitated_step(
    target: Target, clean: Clean, *, load: str, as_numpy: bool = True, reach: Positive = 0.1, epochs: Count = 30, seed: int = 0
) -> Target:
    """Puts your own function before the model, and trains a network to imitate it, for a step whose gradient is no use and is far from the identity.

    `reach`: how far around clean inputs it is imitated, in input units: the radius of the threat, or a little more.
    """
    step = OwnStep(load, as_numpy=as_numpy)
    return Preprocessed(step, target, backward=Imitation(trained_stand_in(step, clean.x, reach=reach, epochs=epochs, seed=seed)))


class Imitation:
    """A trained network, on whatever device its inputs are."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net.to(x.device)(x)


class OwnStep:
    """A function of a person's own, as a step: inputs (n, *shape) to float tensors (n, *other), one for each.

    Args:
        load: "file.py:function" or "package.module:function".
        as_numpy: whether it takes and gives numpy arrays; torch tensors otherwise.

    Raises:
        BadTarget: there is no such function; or, when it is asked, an answer that is no finite number for each input.
    """

    def __init__(self, load: str, *, as_numpy: bool) -> None:
        self.load, self.as_numpy = load, as_numpy
        self.function: Callable[..., Any] = find(load)
        if not callable(self.function):
            raise BadTarget(f"{load} is {type(self.function).__name__}; name a function from a batch of inputs to a batch of inputs")
        self.source = source_of(self.function)

    def sha256(self) -> str:
        """Of its name and its file, wherever that lies."""
        return hashlib.sha256(f"{self.load} {self.as_numpy} {self.source}".encode()).hexdigest()

    def __call__(self, x: Tensor) -> Tensor:
        given = x.detach().cpu().numpy() if self.as_numpy else x
        try:
            raw = self.function(given)
            made = raw if isinstance(raw, Tensor) else torch.from_numpy(np.ascontiguousarray(raw))
        except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError, AttributeError) as error:
            raise BadTarget(f"{self.load}: {type(error).__name__} for inputs of shape {tuple(x.shape)}: {error}") from error
        if made.ndim < 2 or len(made) != len(x):
            raise BadTarget(f"{self.load}: {len(x)} inputs gave {tuple(made.shape)}; a step gives one output for each input")
        made = made.to(x.device).to(x.dtype)
        if not bool(torch.isfinite(made).all()):
            raise BadTarget(f"{self.load}: gave values that are not finite; mend the step")
        return made


def source_of(function: Callable[..., Any]) -> str:
    """A hash of the file that a function comes from, so that a changed step is another step; empty where there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""
