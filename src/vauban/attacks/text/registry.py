"""The decorator that turns a generator over one text into a named attack; a registry of its own, for these attacks ask another door."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, Generic, ParamSpec, cast, overload

from vauban.attacks.registry import Attack, Facts, Recipe
from vauban.doors.text import Play, TextOracle, TextRow
from vauban.errors import BadPlan, nearest
from vauban.threat import Access, Edits, Threat

P = ParamSpec("P")

TEXT_ATTACKS: dict[str, TextRecipe[...]] = {}
"""Every registered attack on texts by name; the folder `vauban.attacks.text` fills it."""
FAMILIES: dict[str, tuple[str, ...]] = {}
"""For each, the families of edits of which it needs at least one; none where any will do."""


class TextRecipe(Generic[P]):
    """A registered attack on texts before its settings are chosen.

    Called with a `TextOracle` first, it attacks at once; called without, it binds the settings and gives an `Attack`.
    """

    def __init__(self, facts: Facts, function: Callable[Concatenate[TextRow, P], Play]) -> None:
        @functools.wraps(function)
        def played(o: TextOracle, *args: P.args, **settings: P.kwargs) -> None:
            o.play(lambda row: function(row, *args, **settings))

        self.facts, self.function = facts, function
        self._recipe: Recipe[...] = Recipe(facts, cast("Callable[..., None]", played))
        self.__doc__, self.__name__, self.__module__ = function.__doc__, facts.name, function.__module__

    def __repr__(self) -> str:
        return f"<text attack {self.facts.name}: {self.facts.summary}>"

    @overload
    def __call__(self, o: TextOracle, /, *args: P.args, **settings: P.kwargs) -> None: ...
    @overload
    def __call__(self, *args: P.args, **settings: P.kwargs) -> Attack: ...
    def __call__(self, *args: Any, **settings: Any) -> Attack | None:
        if args and isinstance(args[0], TextOracle):
            return run(self.bind(*args[1:], **settings), args[0])
        return self.bind(*args, **settings)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The settings it takes, with their defaults."""
        return self._recipe.parameters

    def bind(self, *args: Any, **settings: Any) -> Attack:
        """Choose the settings; the rest keep their defaults. Raises `BadPlan` for an unknown setting or a value out of range."""
        return self._recipe.bind(*args, **settings)


def text_attack(
    access: Access, *, paper: str, families: tuple[str, ...] = (), baseline: bool = False
) -> Callable[[Callable[Concatenate[TextRow, P], Play]], TextRecipe[P]]:
    """Register a generator over one text as an attack, under its own name with dashes.

    Args:
        access: what its questions need of the target.
        paper: its source.
        families: the families of edits of which it needs at least one; none where any will do.
        baseline: whether it optimises nothing.
    """

    def register(function: Callable[Concatenate[TextRow, P], Play]) -> TextRecipe[P]:
        name = function.__name__.replace("_", "-")
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        if name in TEXT_ATTACKS or not summary:
            raise BadPlan(f"text attack {name!r} needs a docstring and a name of its own")
        TEXT_ATTACKS[name] = TextRecipe(Facts(name, summary, access, ("edits",), paper, baseline=baseline), function)
        FAMILIES[name] = families
        return TEXT_ATTACKS[name]  # pyright: ignore[reportReturnType]

    return register


def find_text(name: str) -> TextRecipe[...]:
    """A registered attack on texts by name; raises `BadPlan` with the nearest names."""
    if name not in TEXT_ATTACKS:
        raise BadPlan(f"no text attack is named {name!r}; {nearest(name, TEXT_ATTACKS)}")
    return TEXT_ATTACKS[name]


def run(attack: Attack, oracle: TextOracle) -> None:
    """Run an attack on texts with its settings.

    Raises:
        BadPlan: it is none on texts, or the threat allows none of the edits it knows.
    """
    check(attack, oracle.threat)
    cast("Callable[[TextOracle], None]", attack)(oracle)


def check(attack: Attack, threat: Threat) -> None:
    """Whether an attack can act under a threat.

    Raises:
        BadPlan: it is none on texts, or the threat allows none of the edits it knows.
    """
    attack.check(threat)
    if not _able(attack, threat):
        raise BadPlan(
            f"attack {attack.name!r} makes edits of the families {', '.join(FAMILIES[attack.name])}, and threat {threat.name!r} allows none of them"
        )


def _able(attack: Attack, threat: Threat) -> bool:
    allowed, needed = threat.perturbation, FAMILIES.get(attack.name, ())
    return isinstance(allowed, Edits) and (not needed or any(f in allowed.families for f in needed))


def able(attacks: Iterable[Attack], threat: Threat) -> tuple[Attack, ...]:
    """Of some attacks on texts, those that can act under a threat: within its access, with edits that it allows."""
    return tuple(a for a in attacks if a.facts.access <= threat.access and _able(a, threat))
