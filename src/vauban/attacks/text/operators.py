"""The edits that attacks make, each a function from a text and a place to the texts that one edit of a family makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from vauban.doors.text import HOMOGLYPHS, INVISIBLE, KEYBOARD, TextRow, Word
from vauban.doors.text.characters import ASCII, BACKSPACE, LETTERS, OVERRIDE, POP

Operator = Callable[[str, int], Iterable[str]]
"""From a text and a place to the edited texts; nothing where the edit has no meaning there."""


def swap(text: str, i: int) -> Iterable[str]:
    """Character i changes places with the next, where they differ."""
    if i + 1 < len(text) and text[i] != text[i + 1]:
        yield text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def delete(text: str, i: int) -> Iterable[str]:
    """Character i goes."""
    yield text[:i] + text[i + 1 :]


def insert(text: str, i: int) -> Iterable[str]:
    """Each small letter comes in before character i, and a space."""
    for c in LETTERS + " ":
        yield text[:i] + c + text[i:]


def substitute(text: str, i: int) -> Iterable[str]:
    """Character i becomes each other letter of its case, or digit."""
    for c in LETTERS.upper() if text[i].isupper() else LETTERS + ASCII[-10:]:
        if c != text[i]:
            yield text[:i] + c + text[i + 1 :]


def keyboard(text: str, i: int) -> Iterable[str]:
    """Character i becomes each of its neighbours on the keyboard."""
    for c in KEYBOARD.get(text[i], ""):
        yield text[:i] + c + text[i + 1 :]


def homoglyph(text: str, i: int) -> Iterable[str]:
    """Character i becomes each of its look-alikes."""
    for c in HOMOGLYPHS.get(text[i], ""):
        yield text[:i] + c + text[i + 1 :]


def invisible(text: str, i: int) -> Iterable[str]:
    """Each character without width comes in before character i."""
    for c in INVISIBLE:
        yield text[:i] + c + text[i:]


def reorder(text: str, i: int) -> Iterable[str]:
    """Character i and the next change places, and controls show them as before (UAX #9)."""
    if i + 1 < len(text) and text[i] != text[i + 1]:
        yield text[:i] + OVERRIDE + text[i + 1] + text[i] + POP + text[i + 2 :]


def backspace(text: str, i: int) -> Iterable[str]:
    """Each small letter comes in before character i, with the control that takes it away."""
    for c in LETTERS:
        yield text[:i] + c + BACKSPACE + text[i:]


OPERATORS: dict[str, Operator] = {
    "swap": swap,
    "delete": delete,
    "insert": insert,
    "substitute": substitute,
    "keyboard": keyboard,
    "homoglyph": homoglyph,
    "invisible": invisible,
    "reorder": reorder,
    "backspace": backspace,
}
"""Every family of edits by name."""
PUT_IN = ("insert", "invisible", "backspace")
"""Families that put something in and change no character."""
PAIRS = ("swap", "reorder")
"""Families that change two characters."""


def cost(row: TextRow, family: str) -> int:
    """What one edit of a family counts."""
    pair = 2 if row.allowed.metric == "levenshtein" else 1
    return {"swap": pair, "reorder": 2 + pair, "backspace": 2}.get(family, 1)


def choices(row: TextRow, text: str, families: Sequence[str]) -> list[tuple[str, int]]:
    """Every family of those that the threat allows, with every place of a legal text where it may act once more: on characters that stand as they
    were, at no more than what is left. In the order of the text."""
    stand = row.untouched(text)
    left = row.most - (row.distance(text) if text != row.clean else 0)
    free, gaps = set(row.places), set(row.gaps)
    allowed = [f for f in families if row.may(f) and cost(row, f) <= left]
    found: list[tuple[str, int]] = []
    for i, origin in [*stand.items(), (len(text), len(row.clean))]:
        for family in allowed:
            whole = i in stand and origin in free and (family not in PAIRS or (stand.get(i + 1) == origin + 1 and origin + 1 in free))
            if (origin in gaps if family in PUT_IN else whole) and next(iter(OPERATORS[family](text, i)), None) is not None:
                found.append((family, i))
    return found


class Edit(NamedTuple):
    """Where one more edit is made, and what it counts."""

    place: int
    cost: int


def edits(row: TextRow, text: str, families: Sequence[str]) -> dict[str, Edit]:
    """Every text that one more edit of these families makes of a legal text; the cheapest edit where several make the same."""
    found: dict[str, Edit] = {}
    for family, i in choices(row, text, families):
        price = cost(row, family)
        for made in OPERATORS[family](text, i):
            if made not in found or price < found[made].cost:
                found[made] = Edit(i, price)
    found.pop(text, None)
    found.pop(row.clean, None)
    return found


def without(text: str, word: Word) -> str:
    """The text with a word taken out; a full stop where nothing else is left, for a model must be asked about something."""
    return something(text[: word.start] + text[word.end :])


def something(text: str) -> str:
    """The text, or a full stop where it is empty."""
    return text if text.strip() else "."


def rewritten(text: str, changes: Mapping[Word, str]) -> str:
    """The text with other letters in the place of some of its words."""
    parts: list[str] = []
    end = 0
    for word in sorted(changes, key=lambda w: w.start):
        parts += [text[end : word.start], changes[word]]
        end = word.end
    return "".join([*parts, text[end:]])
