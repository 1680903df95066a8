"""The text a campaign file was read from, and how an error is told about a place in it: file, line, table, key."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from vauban.errors import BadPlan, VaubanError
from vauban.toml import Where, line_at

ARRAYS = ("threat", "surrogate", "attack", "defence")


@dataclass(frozen=True)
class Source:
    """A file's name, its contents parsed, and the line of every key.

    Attributes:
        path: as the person gave it; errors begin with it.
        raw: what `tomllib` made of it.
        lines: see `lines_of`.
    """

    path: Path = Path("vauban.toml")
    raw: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    lines: dict[Where, int] = field(default_factory=dict[Where, int], repr=False)

    @property
    def base(self) -> Path:
        """The folder that paths in the file are relative to."""
        return self.path.parent

    def at(self, where: Where) -> Any:
        """What stands at a place; None where nothing does."""
        value: Any = self.raw
        for step in where:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def told(self, where: Where, message: str, error: type[VaubanError] = BadPlan, *, inside: bool = True) -> VaubanError:
        """The error that says `message` about a place: "vauban.toml:14: [[threat]] "insider": eps = 8 is ...".

        Args:
            where: the place: its line is named.
            inside: whether the place is a key, so that the table around it is named; otherwise it is a table and named itself.
        """
        line = f":{line_at(self.lines, where)}" if self.lines else ""
        table = self.title(where[:-1] if inside else where)
        return error(f"{self.path}{line}: {f'{table}: ' if table else ''}{message}")

    def title(self, where: Where) -> str:
        """A table as a person finds it: `[target]`, `[[threat]] "insider"`, `[promise] "insider"`, `[harden.data]`."""
        words: list[str] = []
        for depth, step in enumerate(where, start=1):
            if isinstance(step, int) and where[depth - 2] in ARRAYS:
                table = self.at(where[:depth])
                told = cast("dict[str, object]", table) if isinstance(table, dict) else {}
                name = told.get("name", told.get("label"))
                words.append(
                    f'{_header(where[: depth - 1])} "{name}"'
                    if isinstance(name, str)
                    else f"{_header(where[: depth - 1])} number {step + 1}"
                )
        if words:
            rest = where[max(i for i, step in enumerate(where) if isinstance(step, int)) + 1 :]
            return ", ".join([*words, *map(str, rest)])
        if where[:1] == ("promise",) and len(where) > 1:
            return f'[promise] "{where[1]}"'
        return f"[{'.'.join(map(str, where))}]" if where else ""

    @contextmanager
    def blaming(self, *where: str | int) -> Generator[None]:
        """An error raised meanwhile is told about this table, on the line of the key it speaks of."""
        try:
            yield
        except VaubanError as error:
            message = _without_threat(str(error))
            key = self._spoken_of(where, message)
            told = self.told((*where, *key), message, type(error), inside=bool(key))
            raise told from error

    def _spoken_of(self, where: Where, message: str) -> Where:
        """The key of a table that a message is about: the one it sets ("eps = "), whose value it quotes, or that it names.

        Where it speaks of none, what is wrong is what was to be loaded, or the attack that was named.
        """
        table = self.at(where)
        written = cast("dict[str, Any]", table) if isinstance(table, dict) else {}
        found = [
            (rank, match.start(), key)
            for key, value in _keys(written)
            if key != ("name",)  # errors speak of things by name, whatever is wrong with them
            for rank, pattern in enumerate(_mentions(str(key[-1]), value))
            if pattern and (match := re.search(pattern, message))
        ]
        last = "name" if where[-2:-1] in (("attack",), ("defence",)) else "load"
        return min(found)[2] if found else (last,) if last in written else ()


def _keys(table: dict[str, Any]) -> list[tuple[Where, Any]]:
    """The keys of a table, and those of an inline goal or bounds within it."""
    own: list[tuple[Where, Any]] = [
        ((key,), value) for key, value in table.items() if not isinstance(value, dict | list) or key not in ARRAYS
    ]
    goal = table.get("goal")
    return own + ([(("goal", key), value) for key, value in cast("dict[str, Any]", goal).items()] if isinstance(goal, dict) else [])


def _mentions(key: str, value: Any) -> tuple[str, ...]:
    """How a message may speak of a key, the surest way first."""
    word = re.escape(key)
    quoted = re.escape(value) if isinstance(value, str) and len(value) > 2 else ""
    return rf"(?<!\w){word} = ", quoted and f"'{quoted}'", rf"(?<![\w.]){word}(?!\w)", quoted


def _without_threat(message: str) -> str:
    """A threat's own errors begin with its name, which the table says already."""
    return re.sub(r"^threat '[^']*': ", "", message)


def _header(where: Where) -> str:
    """`[[threat.attack]]`, without the places in arrays."""
    return f"[[{'.'.join(str(step) for step in where if isinstance(step, str))}]]"
