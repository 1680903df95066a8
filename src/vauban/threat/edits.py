"""What the attacker may do to a text: at most so many edits, of which kinds, and not in the words that must stay."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from vauban.errors import BadPlan, nearest

Family = Literal["swap", "delete", "insert", "substitute", "keyboard", "homoglyph", "invisible", "reorder", "backspace"]
FAMILIES: tuple[Family, ...] = ("swap", "delete", "insert", "substitute", "keyboard", "homoglyph", "invisible", "reorder", "backspace")
"""Kinds of edits: two neighbours change places; a character goes, comes, or becomes another plain one; it becomes a neighbour on the keyboard, or
one that looks the same; a character without width comes; two change places inside a pair of controls that shows them as before; a character
comes with a backspace that takes it away when shown."""
METRICS = ("damerau", "levenshtein")


@dataclass(frozen=True, slots=True, init=False)
class Edits:
    """The texts that at most `most` edits of the allowed families make of the clean one.

    The size of a change is the least number of allowed edits that explains it, in which no character is edited twice (optimal string alignment).
    A swap of neighbours counts 1 ("damerau") or 2 ("levenshtein"); a reordering is a swap and two controls, 3; a character with its backspace
    is 2; every other edit is 1.

    Attributes:
        most: the number of edits.
        families: which edits are allowed; all by default.
        metric: "damerau" or "levenshtein".
        protected: words that must stay as they are, with nothing put in or right beside them; upper and lower case alike.
        pattern: a regular expression; what it matches must stay likewise.

    Raises:
        BadPlan: no edits, an unknown family or metric, or a pattern that is none.

    >>> Edits(3, ["swap", "homoglyph"]).text()
    'at most 3 edits (swap, homoglyph)'
    """

    most: int
    families: tuple[Family, ...]
    metric: str
    protected: tuple[str, ...]
    pattern: str

    def __init__(
        self, most: int, families: Iterable[str] = FAMILIES, metric: str = "damerau", protected: Iterable[str] = (), pattern: str = ""
    ) -> None:
        whole = isinstance(most, int) and not isinstance(most, bool)  # pyright: ignore[reportUnnecessaryIsInstance]  # a person may write anything
        if not whole or most < 1:
            raise BadPlan(f"edits: at most {most!r} of them; give a whole number, 1 or more")
        asked = (families,) if isinstance(families, str) else tuple(families)
        for word, known, what in (*((f, FAMILIES, "family of edits") for f in asked), (metric, METRICS, "metric of edits")):
            if word not in known:
                raise BadPlan(f"edits: {word!r} is no {what}; {nearest(word, known)}")
        if not asked:
            raise BadPlan("edits: no family is allowed; allow at least one, such as 'swap'")
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadPlan(f"edits: pattern = {pattern!r} is no regular expression: {error}") from error
        values = {
            "most": most, "families": tuple(f for f in FAMILIES if f in asked), "metric": metric,
            "protected": (protected,) if isinstance(protected, str) else tuple(protected), "pattern": pattern,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def kind(self) -> str:
        """Its name among perturbations: "edits"."""
        return "edits"

    @property
    def eps(self) -> float:
        """The radius: the number of edits."""
        return float(self.most)

    @property
    def lo(self) -> float:
        """Texts have no range; records write 0 to 1."""
        return 0.0

    @property
    def hi(self) -> float:
        """Texts have no range; records write 0 to 1."""
        return 1.0

    def text(self) -> str:
        kinds = "" if self.families == FAMILIES else f" ({', '.join(self.families)})"
        swaps = ", a swap counting 2" if self.metric == "levenshtein" else ""
        kept = [repr(w) for w in self.protected] + ([f"what matches {self.pattern!r}"] if self.pattern else [])
        count = f"at most {self.most} edit{'' if self.most == 1 else 's'}"
        return f"{count}{kinds}{swaps}" + (f", none in {', '.join(kept)}" if kept else "")
