"""A target around a target: what every wrapper passes on; and what a defence owes whoever evaluates it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from vauban.noise import RowNoise
from vauban.target.base import Surrogate, Target
from vauban.target.surrogates import default_surrogate

FAR = 30.0
"""How far below the lowest score a class stands that is never answered."""


@dataclass(frozen=True)
class Owed:
    """An attack that an evaluation of a defence must contain: its registered name and its settings."""

    attack: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Worn:
    """A defence that a target wears.

    Attributes:
        name, settings: the registered defence and all its settings.
        family: "input", "ensemble", "smoothing", "detection", "rejection".
        claims: the threat it claims to stop, in words.
        adaptive: how an attacker that knows it attacks it, in words.
        paper: its source.
        owed: the attacks that an evaluation must contain.
    """

    name: str
    settings: Mapping[str, Any]
    family: str
    claims: str
    adaptive: str
    paper: str
    owed: tuple[Owed, ...] = ()


class Around(Target):
    """A target that asks another one. Subclasses change the question or the answer.

    Attributes:
        target: the target inside.
        worn: the defences from the innermost to the outermost.
        undefended: the target without them.
    """

    kind: ClassVar[str] = "around"

    def __init__(self, target: Target) -> None:
        self.target = target
        self.access, self.name, self.reject, self.classes = target.access, target.name, target.reject, target.classes
        self.outputs, self.randomised, self.device = target.outputs, target.randomised, target.device
        self.refuses, self.metered = target.refuses, target.metered
        self.worn = worn_by(target)
        self.undefended: Target | None = undefended(target) if self.worn else None

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.scores(x, draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.labels(x, draw)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.smooth(x, draw)

    @property
    def surrogate(self) -> Surrogate | None:
        return self.target.surrogate

    def held(self) -> AbstractContextManager[None]:
        return self.target.held()

    def prepare(self, x: Tensor) -> None:
        self.target.prepare(x)
        self.outputs, self.classes = self.target.outputs, self.target.classes

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        return self.target.wire(x, clean)

    def sha256(self) -> str:
        return self.target.sha256()

    def parameters_count(self) -> int | None:
        return self.target.parameters_count()


def worn_by(target: Target) -> tuple[Worn, ...]:
    """The defences that a target wears, from the innermost to the outermost."""
    worn: tuple[Worn, ...] = getattr(target, "worn", ())
    return worn


def undefended(target: Target) -> Target:
    """The target without the defences it wears; itself where it wears none."""
    inner: Target | None = getattr(target, "undefended", None)
    return target if inner is None else inner


def put_on(made: Target, bare: Target, worn: Worn) -> Target:
    """Note on a target what it wears since it was put around `bare`."""
    vars(made).update(worn=(*worn_by(bare), worn), undefended=undefended(bare))
    return made


class Bare(Surrogate):
    """The model behind a defence, for an attacker that does not know of the defence: where the target can reject, in a column never answered."""

    def __init__(self, model: Surrogate, reject: int | None) -> None:
        self.model, self.reject = model, reject
        self.access, self.passes = model.access, model.passes

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        z = self.model.smooth(x, draw)
        if self.reject is None:
            return z
        never = z.detach().amin(1, keepdim=True) - FAR
        return torch.cat([z[:, : self.reject], never, z[:, self.reject :]], 1)

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()


def bare(target: Target) -> Surrogate | None:
    """What an attacker that does not know of the target's defences takes gradients from; None where it wears none, or has no gradient."""
    inner = undefended(target)
    model = None if inner is target else default_surrogate(inner)
    if model is None:
        return None
    return Bare(model, target.reject if inner.reject != target.reject else None)
