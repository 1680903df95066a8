"""The decorator that turns a function from a lesson to a loss into a named way of training with declared facts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Concatenate, Generic, ParamSpec

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.measures import Measure, certified, named
from vauban.defences.training.rows import Part
from vauban.errors import BadPlan, nearest
from vauban.settings import Settings
from vauban.target import Target
from vauban.threat import Threat

P = ParamSpec("P")

METHODS: dict[str, Manner[...]] = {}
"""Every registered way of training by name; the files of `vauban.defences.training.methods` fill it."""


@dataclass(frozen=True)
class Facts:
    """What a way of training declares about itself.

    Attributes:
        name: what it is called in files and reports.
        summary: the first line of its docstring.
        paper: its source.
        replays: the setting that says how often each batch is seen before the next, for methods that replay; empty for once.
        certifies: whether it trains for a bound; the best epoch is then chosen by what interval bounds certify.
        on: the kinds of perturbation it can train against; empty for all that the inner loop can use.
        prepare: what is done before the first step: (lesson, **settings) puts what the method needs into the lesson's memory.
        union: (threat, **settings) to the threats it trains against, the given one first, for methods that train against several; a row
            then withstands where it withstands all.
        measure: what the best epoch is chosen by; None for accuracy under PGD.
    """

    name: str
    summary: str
    paper: str
    replays: str = ""
    certifies: bool = False
    on: tuple[str, ...] = ()
    prepare: Callable[..., None] | None = None
    union: Callable[..., tuple[Threat, ...]] | None = None
    measure: Measure | None = None


@dataclass(frozen=True)
class Method:
    """A way of training with its settings chosen: the loss of a lesson.

    Attributes:
        facts: what it declares.
        settings: every setting by name, defaults included.
    """

    facts: Facts
    settings: Mapping[str, Any]
    run: Callable[[Lesson], Tensor] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def replays(self) -> int:
        """How often each batch is seen before the next."""
        return int(self.settings[self.facts.replays]) if self.facts.replays else 1

    def __call__(self, lesson: Lesson) -> Tensor:
        return self.run(lesson)

    def prepare(self, lesson: Lesson) -> None:
        """What is done before the first step."""
        if self.facts.prepare is not None:
            self.facts.prepare(lesson, **self.settings)

    def measured(self, target: Target, rows: Part, threat: Threat) -> tuple[str, float] | None:
        """What it chooses the best epoch by: a name, and a share of held-out rows; None where that is accuracy under PGD."""
        measure = self.facts.measure
        return None if measure is None else (named(measure), measure(target, rows, threat, self.settings))

    def threats(self, threat: Threat) -> tuple[Threat, ...]:
        """What it trains against, the given threat first.

        Raises:
            BadPlan: it cannot train against such a perturbation.
        """
        kind = threat.perturbation.kind
        if self.facts.on and kind not in self.facts.on:
            raise BadPlan(f"training method {self.name!r} works on {', '.join(self.facts.on)}, and threat {threat.name!r} allows {kind}")
        return (threat,) if self.facts.union is None else self.facts.union(threat, **self.settings)


class Manner(Generic[P]):
    """A registered way of training before its settings are chosen: call it with them for a `Method`."""

    def __init__(self, facts: Facts, function: Callable[Concatenate[Lesson, P], Tensor]) -> None:
        self.facts, self.function = facts, function
        self.__doc__, self.__name__, self.__module__ = function.__doc__, facts.name, function.__module__

    def __repr__(self) -> str:
        return f"<training method {self.facts.name}: {self.facts.summary}>"

    def __call__(self, *args: P.args, **settings: P.kwargs) -> Method:
        return self.bind(*args, **settings)

    @cached_property
    def settings(self) -> Settings:
        """What it can be told."""
        return Settings(f"method {self.facts.name!r}", self.function, 1, {})

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The settings it takes, with their defaults."""
        return self.settings.parameters

    def bind(self, *args: Any, **settings: Any) -> Method:
        """Choose the settings; the rest keep their defaults.

        Raises:
            BadPlan: an unknown setting, or a value of the wrong kind or out of range.
        """
        values = self.settings.bind(args, settings)
        function: Callable[..., Tensor] = self.function
        return Method(self.facts, MappingProxyType(values), lambda lesson: function(lesson, **values))


def method(
    *,
    paper: str,
    replays: str = "",
    certifies: bool = False,
    on: tuple[str, ...] = (),
    prepare: Callable[..., None] | None = None,
    union: Callable[..., tuple[Threat, ...]] | None = None,
    measure: Measure | None = None,
) -> Callable[[Callable[Concatenate[Lesson, P], Tensor]], Manner[P]]:
    """Register a function `(lesson, *, settings) -> loss, a scalar` as a way of training, under its own name with dashes. The arguments are
    its `Facts`."""

    def register(function: Callable[Concatenate[Lesson, P], Tensor]) -> Manner[P]:
        name = function.__name__.replace("_", "-")
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        if not (summary and paper):
            raise BadPlan(f"training method {name!r} needs a docstring and a source")
        if name in METHODS:
            raise BadPlan(f"two training methods are named {name!r}, in {METHODS[name].__module__} and {function.__module__}")
        chosen_by = measure or (certified if certifies else None)
        made = Manner(Facts(name, summary, paper, replays, certifies, on, prepare, union, chosen_by), function)
        METHODS[name] = made
        return made

    return register


def find(name: str) -> Manner[...]:
    """A registered way of training by name; raises `BadPlan` with the nearest names."""
    if name not in METHODS:
        raise BadPlan(f"no training method is named {name!r}; {nearest(name, METHODS)}")
    return METHODS[name]
