"""Adversarial texts with their edits marked; what is not seen is named, so that no character of an attacker moves or hides anything here."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from vauban.campaign.validity import Validity
from vauban.report.numbers import number, percent

LONGEST = 400
"""Characters of a text that are shown; equal pieces are shortened first."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One piece of a text: what stood there, what stands there now, and both by the names of their characters. Equal pieces have no names."""

    before: str
    after: str
    names: str = ""


@dataclass(frozen=True, slots=True)
class TextExample:
    """One broken text.

    Attributes:
        row, label, attack: its row id, true class and the attack that broke it.
        distance: the number of edits.
        before, after: the answers to the clean text and to the adversarial one.
        marks: the text, piece by piece.
        clean, changes, untold: none, for the page shows pictures and features where there are any.
    """

    row: int
    label: str
    attack: str
    distance: str
    before: str
    after: str
    marks: tuple[Mark, ...]
    clean: str = ""


def marks(pieces: Sequence[tuple[str, str]]) -> tuple[Mark, ...]:
    """The pieces of a text as they are shown, from pairs of clean and adversarial text; equal pairs are what stayed."""
    room = max(LONGEST // max(len(pieces), 1), 24)
    return tuple(
        Mark(_short(visible(a), room), _short(visible(b), room)) if a == b else Mark(visible(a), visible(b), f"{_names(a)} → {_names(b)}")
        for a, b in pieces
    )


def visible(text: str) -> str:
    """A text whose unseen characters are named, such as ‹U+200B›.

    >>> visible("pay\\u200bpal")
    'pay‹U+200B›pal'
    """
    return "".join(f"‹U+{ord(c):04X}›" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in text)


def sentence(found: Validity) -> str:
    """What the adversarial texts are worth, in words.

    >>> from vauban.measure.rate import Rate
    >>> print(sentence(Validity(2.0, 40.0, 0.95, Rate(8, 10), Rate(1, 10), {"homoglyph": 16, "swap": 4})))
    Median 2 edits in texts of 40 characters; 95% of the visible characters stand. 8 of 10 texts look the same; 1 still fools a normalised target.
    Edits: 16 homoglyph, 4 swap.
    """
    size = f"Median {number(found.edits)} edit{'' if found.edits == 1 else 's'} in texts of {number(found.length)} characters"
    stand = f"{percent(found.unchanged, 0)} of the visible characters stand"
    alike = f"{found.alike.hits:,} of {found.alike.rows:,} texts look{'s' if found.alike.rows == 1 else ''} the same"
    behind = f"{found.normalised.hits:,} still fool{'s' if found.normalised.hits == 1 else ''} a normalised target"
    kinds = ", ".join(f"{count:,} {family}" for family, count in sorted(found.families.items(), key=lambda kv: -kv[1]))
    return f"{size}; {stand}. {alike}; {behind}.\nEdits: {kinds or 'none'}."


def _names(text: str) -> str:
    return " ".join(f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed')}" for c in text) or "nothing"


def _short(text: str, room: int) -> str:
    """The beginning and the end of what stayed, where it is long."""
    return text if len(text) <= room else f"{text[: room // 2]} … {text[-(room // 2) :]}"
