"""How far a text lies from the clean one: the least number of allowed edits, which they are, and inf where none lead there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vauban.doors.text.characters import BACKSPACE, INVISIBLE, KEYBOARD, OVERRIDE, POP, alike, plain
from vauban.doors.text.words import protected_spans
from vauban.threat import Edits

INF = math.inf
SWAPPED = 2
RUN = 4
"""Characters of a reordered pair with its two controls."""


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of the way from a clean text to another: equal pieces too. `cost` is 0 where nothing changed."""

    clean: str
    text: str
    cost: float

    @property
    def family(self) -> str:
        """The kind of edit it is, the least visible that explains it; empty where nothing changed."""
        a, b = self.clean, self.text
        if not self.cost:
            return ""
        if len(a) == SWAPPED:
            return "reorder" if len(b) == RUN else "swap"
        if not a:
            return "backspace" if b.endswith(BACKSPACE) else "invisible" if b in INVISIBLE else "insert"
        if not b:
            return "delete"
        return "homoglyph" if alike(a, b) else "keyboard" if b in KEYBOARD.get(a, "") else "substitute"


class Ruler:
    """Measures from one clean text, under what a threat allows.

    The dynamic programme of optimal string alignment, held to the diagonals that a limit leaves open, with the allowed edits as its steps.
    """

    def __init__(self, clean: str, allowed: Edits) -> None:
        self.clean, self.allowed = clean, allowed
        self._families = frozenset(allowed.families)
        self.spans = protected_spans(clean, allowed.protected, allowed.pattern)
        self._kept = {i for a, b in self.spans for i in range(a, b)} | self._borders()
        self._sealed = {i for a, b in self.spans for i in range(a, b + 1)}

    def _borders(self) -> set[int]:
        """What parts a protected word from its neighbours: without it the word would be part of another."""
        beside = {i for a, b in self.spans for i in (a - 1, b) if 0 <= i < len(self.clean)}
        return {i for i in beside if not self.clean[i].isalnum()}

    def free(self, start: int, end: int) -> bool:
        """Whether the clean characters from `start` to before `end` may all be changed."""
        return self._kept.isdisjoint(range(start, end))

    def open(self, place: int) -> bool:
        """Whether a character may be put in before clean character `place`."""
        return place not in self._sealed

    def distance(self, text: str, limit: float = INF) -> float:
        """The least number of allowed edits, if it is at most `limit`; otherwise inf."""
        if text == self.clean:
            return 0.0
        if limit < INF:
            near = abs(len(text) - len(self.clean)) <= limit
            return self._end(text, int(limit)) if near else INF
        reach = 4
        while True:  # a small band first: most changes are small
            found = self._end(text, reach)
            if found <= reach or reach > 2 * (len(text) + len(self.clean)):
                return found
            reach *= 4

    def within(self, text: str, limit: int) -> bool:
        """Whether at most `limit` allowed edits lead to a text. Where both begin and end alike is left out at first: that is quick, and nearly
        always enough."""
        if abs(len(text) - len(self.clean)) > limit:
            return False
        most = min(len(text), len(self.clean))
        head = next((k for k in range(most) if text[k] != self.clean[k]), most)
        tail = next((k for k in range(most - head) if text[-1 - k] != self.clean[-1 - k]), most - head)
        return self._end(text, limit, head, tail) <= limit or self._end(text, limit) <= limit

    def _end(self, text: str, limit: int, head: int = 0, tail: int = 0) -> float:
        """The cost of the whole way, where it is no more than a limit; with equal characters at both ends left out."""
        rows = self._table(text, limit, head, tail)
        return rows[len(self.clean) - tail].get(len(text) - tail, INF)

    def steps(self, text: str) -> tuple[Step, ...]:
        """The edits of a shortest way, with the equal pieces between them joined; nothing where there is no way."""
        size = self.distance(text)
        if size == INF:
            return ()
        table = self._table(text, int(size))
        i, j = len(self.clean), len(text)
        found: list[Step] = []
        while i or j:
            for di, dj, cost in self._moves(text, i, j):
                if table[i - di].get(j - dj, INF) + cost == table[i][j]:
                    found.append(Step(self.clean[i - di : i], text[j - dj : j], cost))
                    i, j = i - di, j - dj
                    break
        return _joined(found[::-1])

    def untouched(self, text: str) -> dict[int, int]:
        """Places of a text that stand as they were, each with its place in the clean one; none where no allowed edits lead there."""
        found: dict[int, int] = {}
        i = j = 0
        for step in self.steps(text):
            if not step.cost:
                found |= {j + k: i + k for k in range(len(step.clean))}
            i, j = i + len(step.clean), j + len(step.text)
        return found

    def _table(self, text: str, limit: int, head: int = 0, tail: int = 0) -> list[dict[int, float]]:
        """For each length of the clean text, by length of the other, the least cost between the two beginnings, as far as the limit."""
        rows: list[dict[int, float]] = [{} for _ in range(len(self.clean) + 1)]
        rows[head][head] = 0.0
        silent = 0
        for i in range(head, len(self.clean) - tail + 1):
            row = rows[i]
            for j in range(max(i - limit, head), min(i + limit, len(text) - tail) + 1):
                best = row.get(j, INF)
                for di, dj, cost in self._moves(text, i, j):
                    if i - di >= head:
                        best = min(best, rows[i - di].get(j - dj, INF) + cost)
                if best <= limit:
                    row[j] = best
            silent = 0 if row else silent + 1
            if silent == SWAPPED:  # no step is longer
                break
        return rows

    def _moves(self, text: str, i: int, j: int) -> list[tuple[int, int, float]]:
        """The allowed last steps to the beginnings of lengths i and j: clean characters used, characters of the text used, cost."""
        a = self.clean[i - 1] if i else ""
        b = text[j - 1] if j else ""
        if a and a == b:
            found: list[tuple[int, int, float]] = [(1, 1, 0.0)]
        else:
            found = [(1, 1, 1.0)] if a and b and i - 1 not in self._kept and self._becomes(a, b) else []
        if a and "delete" in self._families and i - 1 not in self._kept:
            found.append((1, 0, 1.0))
        if b and i not in self._sealed:
            found += self._put_in(text, j)
        if i > 1 and j > 1 and i - 1 not in self._kept and i - SWAPPED not in self._kept:
            found += self._swaps(text, i, j)
        return found

    def _becomes(self, a: str, b: str) -> bool:
        """Whether one character may become another."""
        f = self._families
        return ("substitute" in f and plain(b)) or ("homoglyph" in f and alike(a, b)) or ("keyboard" in f and b in KEYBOARD.get(a, ""))

    def _put_in(self, text: str, j: int) -> list[tuple[int, int, float]]:
        """Ways in which the last characters may have come in."""
        b, f = text[j - 1], self._families
        if ("insert" in f and plain(b)) or ("invisible" in f and b in INVISIBLE):
            return [(0, 1, 1.0)]
        return [(0, 2, 2.0)] if "backspace" in f and b == BACKSPACE and j > 1 and plain(text[j - 2]) else []

    def _swaps(self, text: str, i: int, j: int) -> list[tuple[int, int, float]]:
        """Ways in which the last two clean characters may have changed places."""
        pair = self.clean[i - 1] + self.clean[i - 2]
        cost = 2.0 if self.allowed.metric == "levenshtein" else 1.0
        if "swap" in self._families and text[j - 2 : j] == pair:
            return [(2, 2, cost)]
        if "reorder" in self._families and text[j - RUN : j] == OVERRIDE + pair + POP:
            return [(2, RUN, 2.0 + cost)]
        return []


def _joined(steps: list[Step]) -> tuple[Step, ...]:
    found: list[Step] = []
    for step in steps:
        if found and not step.cost and not found[-1].cost:
            last = found.pop()
            step = Step(last.clean + step.clean, last.text + step.text, 0.0)  # noqa: PLW2901
        found.append(step)
    return tuple(found)
