"""The decorator that turns a function that asks an oracle into a named attack with declared facts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Concatenate, Generic, ParamSpec, cast, overload

from vauban.doors import Oracle
from vauban.errors import BadPlan, nearest
from vauban.settings import Count, Natural, Positive, Settings, Share
from vauban.threat import Access, Threat

P = ParamSpec("P")

__all__ = ["ATTACKS", "KINDS", "Attack", "Count", "Facts", "Natural", "Positive", "Recipe", "Share", "attack", "find", "preset"]

ATTACKS: dict[str, Recipe[...]] = {}
"""Every registered attack by name; the folders of `vauban.attacks` fill it."""

KINDS = ("linf", "l2", "l1", "l0", "pixels", "patch", "transformations", "features")


@dataclass(frozen=True)
class Facts:
    """What an attack declares about itself, for the oracle, the reports and the documentation.

    Attributes:
        name: what it is called in files and reports.
        summary: the first line of its docstring.
        access: what its questions need of the target (of a surrogate, for gradients).
        on: the kinds of perturbation it can use: "linf", "l2", "l1", "l0", "pixels", "patch", "transformations", "features".
        paper: its source.
        minimal: whether it looks for the smallest change, and so gives every row a distance.
        baseline: whether it optimises nothing, and so promises nothing.
        images: whether it needs inputs of shape (channels, height, width).
        couples: whether its rows depend on each other (universal perturbations and patches).
        proof: whether it breaks nothing and proves rows robust instead, which ends the search for them.
        prior: whether it takes gradients of a surrogate of the attacker's own, besides what it asks of the target.
        samples: whether it needs inputs of the attacker's own.
        trees: whether it reads the splits and leaves of a `Trees` target.
    """

    name: str
    summary: str
    access: Access
    on: tuple[str, ...]
    paper: str
    minimal: bool = False
    baseline: bool = False
    images: bool = False
    couples: bool = False
    proof: bool = False
    prior: bool = False
    trees: bool = False
    samples: bool = False

    @property
    def atlas(self) -> str:
        """The MITRE ATLAS technique; none for a proof."""
        if self.proof:
            return ""
        if self.baseline:
            return "AML.T0043.003 Craft Adversarial Data: Manual Modification"
        if self.access >= Access.GRADIENT:
            return "AML.T0043.000 Craft Adversarial Data: White-Box Optimization"
        return "AML.T0043.001 Craft Adversarial Data: Black-Box Optimization"

    @property
    def nist(self) -> str:
        """The attack class of NIST AI 100-2 E2025; none for a proof."""
        if self.proof:
            return ""
        return "NISTAML.022 Evasion" if self.access >= Access.GRADIENT else "NISTAML.025 Black-box Evasion"


@dataclass(frozen=True)
class Attack:
    """An attack with its settings chosen: call it with an oracle.

    Attributes:
        facts: what it declares.
        settings: every setting by name, defaults included.
        queries: its share of what is left of each row's budget; inf for all of it.
        everyone: where a campaign wants a curve, whether a minimum-norm attack goes on with broken rows too.
    """

    facts: Facts
    settings: Mapping[str, Any]
    run: Callable[[Oracle], None] = field(repr=False, compare=False)
    queries: float = math.inf
    everyone: bool = True

    @property
    def name(self) -> str:
        return self.facts.name

    def spending(self, queries: float) -> Attack:
        """The same attack with at most so many questions on each row."""
        return replace(self, queries=queries)

    def on_survivors(self) -> Attack:
        """The same attack on standing rows only, also where a curve is wanted."""
        return replace(self, everyone=False)

    def check(self, threat: Threat, *, shape: tuple[int, ...] | None = None) -> None:
        """Whether it can act under a threat at all.

        Raises:
            BadPlan: it knows no such perturbation, needs a finite radius, or needs images.
        """
        kind = threat.perturbation.kind
        if kind not in self.facts.on:
            raise BadPlan(f"attack {self.name!r} works on {', '.join(self.facts.on)}, and threat {threat.name!r} allows {kind}")
        if threat.perturbation.eps == math.inf and not self.facts.minimal:
            raise BadPlan(
                f"attack {self.name!r} needs a radius, and threat {threat.name!r} has eps = inf; give one, or use a minimum-norm attack"
            )
        if self.facts.images and shape is not None and len(shape) != 3:
            raise BadPlan(f"attack {self.name!r} needs images (channels, height, width); these inputs have shape {shape}")

    def __call__(self, o: Oracle) -> None:
        self.check(o.threat, shape=o.shape)
        minimal = self.facts.minimal
        with o.attacking(self.name, self.facts.access, minimal=minimal, everyone=self.everyone, queries=self.queries):
            for _ in o.blocks():
                self.run(o)


class Recipe(Generic[P]):
    """A registered attack before its settings are chosen.

    Called with an oracle first, it attacks at once; called without, it binds the settings and gives an `Attack`.
    """

    def __init__(self, facts: Facts, function: Callable[Concatenate[Oracle, P], None], preset: Mapping[str, Any] | None = None) -> None:
        self.facts, self.function, self.preset = facts, function, MappingProxyType(dict(preset or {}))
        self.__doc__ = function.__doc__
        self.__name__, self.__module__ = facts.name, function.__module__

    def __repr__(self) -> str:
        return f"<attack {self.facts.name}: {self.facts.summary}>"

    @overload
    def __call__(self, o: Oracle, /, *args: P.args, **settings: P.kwargs) -> None: ...
    @overload
    def __call__(self, *args: P.args, **settings: P.kwargs) -> Attack: ...
    def __call__(self, *args: Any, **settings: Any) -> Attack | None:
        if args and isinstance(args[0], Oracle):
            return self.bind(*args[1:], **settings)(args[0])
        return self.bind(*args, **settings)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The settings it takes, with the defaults of its preset."""
        return self.settings.parameters

    @cached_property
    def settings(self) -> Settings:
        """What it can be told."""
        return Settings(f"attack {self.facts.name!r}", self.function, 1, self.preset)

    def bind(self, *args: Any, **settings: Any) -> Attack:
        """Choose the settings; the rest keep their defaults.

        Raises:
            BadPlan: an unknown setting, or a value of the wrong kind or out of range.
        """
        values = self.settings.bind(args, settings)
        function = cast("Callable[..., None]", self.function)
        return Attack(self.facts, MappingProxyType(values), lambda o: function(o, **values))


def attack(
    access: Access,
    *,
    on: tuple[str, ...],
    paper: str,
    minimal: bool = False,
    baseline: bool = False,
    images: bool = False,
    couples: bool = False,
    proof: bool = False,
    prior: bool = False,
    trees: bool = False,
) -> Callable[[Callable[Concatenate[Oracle, P], None]], Recipe[P]]:
    """Register a function that asks an oracle as an attack, under its own name with dashes. The arguments are its `Facts`."""

    def register(function: Callable[Concatenate[Oracle, P], None]) -> Recipe[P]:
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        name = function.__name__.replace("_", "-")
        return _registered(
            Recipe(Facts(name, summary, access, on, paper, minimal, baseline, images, couples, proof, prior, trees), function)
        )

    return register


def preset(
    name: str,
    summary: str,
    of: Recipe[P],
    *,
    paper: str,
    on: tuple[str, ...] | None = None,
    images: bool | None = None,
    samples: bool | None = None,
    **settings: Any,
) -> Recipe[P]:
    """Register settings of an attack under the name that the field knows them by. `on`, `images`, `samples` where its facts differ."""
    given = {"on": on, "images": images, "samples": samples}
    facts = replace(of.facts, name=name, summary=summary, paper=paper, **{k: v for k, v in given.items() if v is not None})
    return _registered(Recipe(facts, of.function, {**of.preset, **settings}))


def _registered(recipe: Recipe[P]) -> Recipe[P]:
    name = recipe.facts.name
    if not recipe.facts.summary or not recipe.facts.paper:
        raise BadPlan(f"attack {name!r} needs a docstring and a source")
    if name in ATTACKS:
        raise BadPlan(f"two attacks are named {name!r}, in {ATTACKS[name].__module__} and {recipe.__module__}")
    ATTACKS[name] = recipe
    return recipe


def find(name: str) -> Recipe[...]:
    """A registered attack by name; raises `BadPlan` with the nearest names."""
    if name not in ATTACKS:
        raise BadPlan(f"no attack is named {name!r}; {nearest(name, ATTACKS)}")
    return ATTACKS[name]
