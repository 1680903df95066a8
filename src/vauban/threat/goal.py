"""What the attacker wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vauban.errors import BadPlan


@dataclass(frozen=True, slots=True)
class Goal:
    """Any wrong class, one wanted class, or a wanted class for inputs of given source classes.

    Attributes:
        wanted: the class the attacker wants; a tuple gives one for each input, in row order; None means any wrong class.
        sources: the classes whose inputs are attacked (directional goals such as spoof to live); empty means all.
        reject_wins: whether an answer in the target's reject column counts as a success. By default it does not.

    >>> Goal(wanted=1, sources=(0,)).text()
    'class 0 to class 1'
    """

    wanted: int | tuple[int, ...] | None = None
    sources: tuple[int, ...] = ()
    reject_wins: bool = False

    def __post_init__(self) -> None:
        if self.sources and self.wanted is None:
            raise BadPlan("a goal with source classes is directional and needs a wanted class, such as wanted = 1")
        if isinstance(self.wanted, int) and self.wanted in self.sources:
            raise BadPlan(f"goal: class {self.wanted} is both wanted and a source; its inputs would win untouched")

    @classmethod
    def directional(cls, sources: int | Sequence[int], wanted: int) -> Goal:
        """Inputs of the source classes are to be taken for the wanted one, such as spoof for live."""
        return cls(wanted=wanted, sources=(sources,) if isinstance(sources, int) else tuple(sources))

    @property
    def untargeted(self) -> bool:
        return self.wanted is None

    def text(self, names: Sequence[str] = ()) -> str:
        """In words, with class names where given."""

        def name(c: int) -> str:
            return names[c] if c < len(names) else f"class {c}"

        if self.wanted is None:
            return "any wrong class"
        wanted = name(self.wanted) if isinstance(self.wanted, int) else "a class given for each input"
        *most, last = map(name, self.sources) if self.sources else ["any class"]
        given = f"{', '.join(most)} or {last}" if most else last
        return f"{given} to {wanted}"
