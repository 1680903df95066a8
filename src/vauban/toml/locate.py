"""Where in a TOML text each key stands, so that errors can name the line; the standard library's parser forgets it."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

Where = tuple[str | int, ...]
"""A place in parsed TOML: keys of tables and places in arrays, such as ("threat", 0, "eps")."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t]|\n|#[^\n]*)*")
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d[ Tt]\d\d:[^\s,\]}#]*|[^\s,\]}#]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'  # up to two quotes may stand right before the closing three
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)


def lines_of(text: str) -> dict[Where, int]:
    """The line, from 1, of every key, table and array element of a TOML text that `tomllib` accepts.

    A table of an array is where its header is; a table is where its own header is, else where it is first spoken of.

    >>> lines_of('seed = 1\\n[[threat]]\\nname = "a"')
    {('seed',): 1, ('threat',): 2, ('threat', 0): 2, ('threat', 0, 'name'): 3}
    """
    return _Scanner(text).scanned()


def line_at(lines: dict[Where, int], where: Where) -> int:
    """The line of a place, or of the nearest thing around it that is written down."""
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 1)


class _Scanner:
    """One walk over a text already known to be TOML; it skips what it need not understand."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.ends = [m.start() for m in re.finditer("\n", self.text)]
        self.at: dict[Where, int] = {}
        self.counts: dict[Where, int] = {}
        self.i = 0

    def scanned(self) -> dict[Where, int]:
        table: Where = ()
        while self._peek():
            if self.text[self.i] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.at

    def _peek(self) -> str:
        """The next character that is no space or comment; empty at the end."""
        self.i = self._end_of(_BLANK)
        return self.text[self.i : self.i + 1]

    def _end_of(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.i)
        return match.end() if match else self.i + 1

    def _note(self, where: Where, *, again: bool = False) -> None:
        line = bisect_left(self.ends, self.i) + 1
        if again or where not in self.at:
            self.at[where] = line

    def _header(self) -> Where:
        marks = 2 if self.text.startswith("[[", self.i) else 1
        self.i += marks
        keys = self._key()
        parent: Where = ()
        for key in keys[:-1]:
            parent = (*parent, key)
            self._note(parent)
            if parent in self.counts:
                parent = (*parent, self.counts[parent] - 1)
        where: Where = (*parent, keys[-1])
        self._note(where, again=marks == 1)
        if marks == 2:
            self.counts[where] = self.counts.get(where, 0) + 1
            where = (*where, self.counts[where] - 1)
            self._note(where)
        self.i += marks
        return where

    def _key(self) -> list[str]:
        """The parts of a dotted key; afterwards the next character is what follows it."""
        parts: list[str] = []
        while True:
            first, start = self._peek(), self.i
            self.i = self._end_of(_STRING if first in "\"'" else _BARE)
            word = self.text[start : self.i]
            parts.append(tomllib.loads(f"k = {word}")["k"] if first in "\"'" else word)
            if self._peek() != ".":
                return parts
            self.i += 1

    def _pair(self, table: Where) -> None:
        self._peek()
        start = self.i
        keys = self._key()
        after, self.i = self.i, start
        for depth in range(1, len(keys) + 1):
            self._note((*table, *keys[:depth]))
        self.i = after + 1
        self._value((*table, *keys))

    def _value(self, where: Where) -> None:
        first = self._peek()
        if first == "[":
            self._many("]", where)
        elif first == "{":
            self._many("}", where)
        else:
            self.i = self._end_of(_STRING if first in "\"'" else _SCALAR)

    def _many(self, close: str, where: Where) -> None:
        """The elements of an array, or the pairs of an inline table."""
        self.i += 1
        place = 0
        while self._peek() != close:
            if close == "}":
                self._pair(where)
            else:
                self._note((*where, place))
                self._value((*where, place))
            place += 1
            if self._peek() == ",":
                self.i += 1
        self.i += 1
