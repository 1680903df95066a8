"""Words of a text, with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMON = """a about after all also am an and any are as at be been but by can could did do does for from had has have he her him his how i if
in into is it its just me more most my no nor not of on only or our she should so some such than that the their them then there these they this
those to too very was we were what when where which who why will with would you your"""
STOP_WORDS = frozenset(_COMMON.split())
"""English words that carry little meaning, which attacks on words leave alone."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its letters, and where it begins and ends."""

    text: str
    start: int
    end: int

    @property
    def common(self) -> bool:
        """Whether it is a stop word."""
        return self.text.lower() in STOP_WORDS


def words(text: str) -> tuple[Word, ...]:
    """The words of a text: runs of letters and digits, apostrophes inside.

    >>> [w.text for w in words("Don't, stop_me 2day!")]
    ["Don't", 'stop', 'me', '2day']
    """
    return tuple(Word(m[0], m.start(), m.end()) for m in _WORD.finditer(text))


def protected_spans(text: str, protected: tuple[str, ...], pattern: str) -> tuple[tuple[int, int], ...]:
    """Where a text must stay as it is: every place of the protected words, as whole words in any case, and all that the pattern matches."""
    found = [m.span() for word in protected for m in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)]
    found += [m.span() for m in re.finditer(pattern, text)] if pattern else []
    return tuple(sorted((a, b) for a, b in found if b > a))
