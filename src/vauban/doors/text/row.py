"""What an attack sees of one text: the clean text, what it may do to it, and the questions it may ask."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vauban.doors.oracle import Aim, Kind, Loss
from vauban.doors.text.ruler import INF, Ruler
from vauban.doors.text.words import Word, words
from vauban.errors import NotGranted
from vauban.noise import RowNoise
from vauban.threat import Access, Threat


@dataclass(frozen=True, slots=True)
class Ask:
    """Some questions at once about one row.

    Attributes:
        texts: the candidates.
        kind: what they are for, in the ledger.
        loss: the objective wanted of each.
        around: texts whose objective is to be estimated from the slope at the only candidate; None where no gradient is wanted.
    """

    texts: tuple[str, ...]
    kind: Kind
    loss: Loss = Aim.margin
    around: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answers, one for each candidate: whether it fooled the target, and the objective; -inf where it was not asked. `gains`: see `slope`."""

    fooled: list[bool]
    values: list[float]
    gains: list[float] = field(default_factory=list[float])


Play = Generator[Ask, Reply, None]
"""An attack under way on one row: it asks by `yield from row.score(...)` and the like, and ends when it has nothing more to try."""
Player = Callable[["TextRow"], Play]
"""An attack with its settings."""


class TextRow:
    """One text under attack. Questions are asked with `yield from`; a row that has fallen, or can pay for no more, is left without a word.

    Attributes:
        clean: the text itself.
        allowed: what may be done to it.
        noise: random numbers that belong to this row, in tensors whose first dimension is 1.
    """

    def __init__(self, ruler: Ruler, threat: Threat, noise: RowNoise) -> None:
        self.clean, self.allowed, self.noise = ruler.clean, ruler.allowed, noise
        self._ruler, self._threat = ruler, threat

    # ---- what is free -------------------------------------------------------------------------------------------------------------------

    @property
    def most(self) -> int:
        """How many edits are allowed."""
        return self.allowed.most

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words all of whose letters may be changed."""
        return tuple(w for w in words(self.clean) if self._ruler.free(w.start, w.end))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """The characters of the clean text that may be changed."""
        return tuple(i for i in range(len(self.clean)) if self._ruler.free(i, i + 1))

    @cached_property
    def gaps(self) -> tuple[int, ...]:
        """The places before which something may be put in; the last one is the end of the text."""
        return tuple(i for i in range(len(self.clean) + 1) if self._ruler.open(i))

    def may(self, *families: str) -> bool:
        """Whether any of these families of edits is allowed."""
        return any(f in self.allowed.families for f in families)

    def shows(self, access: Access) -> bool:
        """Whether the attacker sees so much of the answers."""
        return self._threat.access >= access

    def distance(self, text: str) -> float:
        """In edits; inf beyond what is allowed."""
        return self._ruler.distance(text, self.most)

    def legal(self, text: str, made_of: float = INF) -> bool:
        """Whether a text lies within what is allowed. Where it is known to be made of so many allowed edits, each at another place, that answers
        it quickly; reorderings and backspaces count for what they cost."""
        dearest = 2 if self.allowed.metric == "levenshtein" else 1
        return made_of * dearest <= self.most or self._ruler.within(text, self.most)

    def untouched(self, text: str) -> dict[int, int]:
        """Places of a legal text that stand as they were, each with its place in the clean one."""
        return self._ruler.untouched(text)

    # ---- questions ----------------------------------------------------------------------------------------------------------------------

    def submit(self, texts: Sequence[str]) -> Generator[Ask, Reply, None]:
        """Hand in tries; the attacker learns nothing. All that access "none" may do."""
        yield Ask(tuple(texts), "check")

    def fooled(self, texts: Sequence[str], *, kind: Kind = "step") -> Generator[Ask, Reply, list[bool]]:
        """Did they fool the target? False where a candidate was not asked. Needs label access."""
        self._allow(Access.LABEL, "fooled")
        return (yield Ask(tuple(texts), kind)).fooled

    def score(self, texts: Sequence[str], loss: Loss = Aim.margin, *, kind: Kind = "step") -> Generator[Ask, Reply, list[float]]:
        """The value of an objective that is to be raised, for each; -inf where a candidate was not asked. Needs score access."""
        self._allow(Access.SCORE, "score")
        return (yield Ask(tuple(texts), kind, loss)).values

    def slope(self, text: str, around: Sequence[str], loss: Loss = Aim.cross_entropy) -> Generator[Ask, Reply, tuple[float, list[float]]]:
        """The value of an objective at a text, and by how much it would rise to first order at each text `around` it: one question and one gradient.
        Needs gradient access."""
        self._allow(Access.GRADIENT, "slope")
        reply = yield Ask((text,), "gradient", loss, tuple(around))
        return reply.values[0], reply.gains

    def _allow(self, need: Access, question: str) -> None:
        granted = self._threat.access
        if need > granted:
            raise NotGranted(
                f"the question {question!r} needs {need.name.lower()} access; threat {self._threat.name!r} grants {granted.name.lower()}"
            )
