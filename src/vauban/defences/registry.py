"""The decorator that turns a function from a target to a target around it into a named defence with declared facts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, cast, overload

from torch import Tensor

from vauban.attacks import find as find_attack
from vauban.data import Rows
from vauban.errors import BadPlan, BadTarget, nearest
from vauban.settings import Settings
from vauban.target import Target
from vauban.target.around import Owed, Worn, put_on

P = ParamSpec("P")
FAMILIES = ("input", "ensemble", "smoothing", "detection", "rejection")

DEFENCES: dict[str, Design[...]] = {}
"""Every registered defence by name; the folders of `vauban.defences` fill it."""


@dataclass(frozen=True, eq=False)
class Clean:
    """Clean rows that a defence is fitted or calibrated on: inputs (n, *shape) in the model's box and true classes (n,), on the CPU.

    They must be rows that the model was not trained on and that no audit uses.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, given: Rows | Clean | tuple[Tensor, Tensor]) -> Clean:
        """Rows in whichever form they were given."""
        return given if isinstance(given, Clean) else cls(given.x, given.y) if isinstance(given, Rows) else cls(*given)


@dataclass(frozen=True)
class Facts:
    """What a defence declares about itself.

    Attributes:
        name: what it is called in files and reports.
        summary: the first line of its docstring.
        family: "input", "ensemble", "smoothing", "detection" or "rejection".
        claims: the threat it claims to stop, in words.
        adaptive: how an attacker that knows the defence attacks it, in words: which gradients, which objective, which attacks.
        owes: the attacks that every evaluation contains, besides the suite: names with their settings.
        paper: its source.
        fits: whether it must be fitted or calibrated on clean rows.
        images: whether it needs inputs of shape (channels, height, width).
        broken: what is known of its fall, with the source; empty where nothing is.
    """

    name: str
    summary: str
    family: str
    claims: str
    adaptive: str
    paper: str
    owes: tuple[Owed, ...] = ()
    fits: bool = False
    images: bool = False
    broken: str = ""


@dataclass(frozen=True)
class Defence:
    """A defence with its settings chosen: put it around a target.

    Attributes:
        facts: what it declares.
        settings: every setting by name, defaults included.
    """

    facts: Facts
    settings: Mapping[str, Any]
    build: Callable[..., Target] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.facts.name

    def around(self, target: Target, clean: Rows | Clean | tuple[Tensor, Tensor] | None = None) -> Target:
        """The target behind this defence: it carries the surrogate of its adaptive attacker, and the attacks that an audit must contain.

        Args:
            clean: held-out clean rows, for a defence that is fitted or calibrated.

        Raises:
            BadPlan: it needs clean rows and none are given.
            BadData, BadTarget, NotGranted: it cannot be put around this target, or fitted on these rows.
        """
        facts = self.facts
        if facts.fits and clean is None:
            raise BadPlan(
                f"defence {self.name!r} is fitted on clean rows; give some that the model was not trained on and the audit does not use"
            )
        given: tuple[Clean, ...] = ()
        if facts.fits and clean is not None:
            given = (Clean.of(clean),)
            target.prepare(given[0].x[:256].to(target.device))
        made = self.build(target, *given)
        if made is target:
            raise BadTarget(f"defence {self.name!r} returned the target itself; it must return a target around it")
        worn = Worn(facts.name, self.settings, facts.family, facts.claims, facts.adaptive, facts.paper, facts.owes)
        return put_on(made, target, worn)


class Design(Generic[P]):
    """A registered defence before its settings are chosen: call it with them for a `Defence`."""

    def __init__(self, facts: Facts, function: Callable[..., Target]) -> None:
        self.facts, self.function = facts, function
        self.__doc__, self.__name__, self.__module__ = function.__doc__, facts.name, function.__module__

    def __repr__(self) -> str:
        return f"<defence {self.facts.name}: {self.facts.summary}>"

    def __call__(self, *args: P.args, **settings: P.kwargs) -> Defence:
        return self.bind(*args, **settings)

    @cached_property
    def settings(self) -> Settings:
        """What it can be told."""
        return Settings(f"defence {self.facts.name!r}", self.function, 2 if self.facts.fits else 1, {})

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The settings it takes, with their defaults."""
        return self.settings.parameters

    def bind(self, *args: Any, **settings: Any) -> Defence:
        """Choose the settings; the rest keep their defaults.

        Raises:
            BadPlan: an unknown setting, or a value of the wrong kind or out of range.
        """
        values = self.settings.bind(args, settings)
        return Defence(self.facts, MappingProxyType(values), lambda *given: self.function(*given, **values))


class Register(Protocol):
    """Registers a function, whose settings are what follows the target, and the clean rows where it is fitted on some."""

    @overload
    def __call__(self, function: Callable[Concatenate[Target, Clean, P], Target], /) -> Design[P]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Target, P], Target], /) -> Design[P]: ...


def defence(
    family: str,
    *,
    claims: str,
    adaptive: str,
    paper: str,
    owes: tuple[Owed, ...] = (),
    images: bool = False,
    broken: str = "",
) -> Register:
    """Register a function `(target, *, settings) -> target around it` as a defence, under its own name with dashes.

    The arguments are its `Facts`. A function whose second parameter is annotated `Clean` is given clean rows to be fitted on.
    """

    def register(function: Callable[..., Target]) -> Design[Any]:
        name = function.__name__.replace("_", "-")
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        if family not in FAMILIES:
            raise BadPlan(f"defence {name!r}: no family is named {family!r}; {nearest(family, FAMILIES)}")
        if not (summary and claims and adaptive and paper):
            raise BadPlan(f"defence {name!r} needs a docstring, what it claims, how an attacker that knows it attacks it, and a source")
        for owed in owes:
            find_attack(owed.attack).bind(**owed.settings)
        parameters = list(inspect.signature(function).parameters.values())
        fits = len(parameters) > 1 and parameters[1].annotation in (Clean, "Clean")
        facts = Facts(name, summary, family, claims, adaptive, paper, owes, fits, images, broken)
        return _registered(Design[Any](facts, function))

    return cast("Register", register)


def _registered(design: Design[Any]) -> Design[Any]:
    name = design.facts.name
    if name in DEFENCES:
        raise BadPlan(f"two defences are named {name!r}, in {DEFENCES[name].__module__} and {design.__module__}")
    DEFENCES[name] = design
    return design


def find(name: str) -> Design[...]:
    """A registered defence by name; raises `BadPlan` with the nearest names."""
    if name not in DEFENCES:
        raise BadPlan(f"no defence is named {name!r}; {nearest(name, DEFENCES)}")
    return DEFENCES[name]
