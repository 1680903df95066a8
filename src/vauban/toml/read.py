"""The text of a TOML file, and what it says; what cannot be read is told in one sentence with file and line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from vauban.errors import VaubanError
from vauban.toml.locate import Where, lines_of


class Parsed(NamedTuple):
    """What `tomllib` made of a text, and the line of every key of it."""

    raw: dict[str, Any]
    lines: dict[Where, int]


def text_of(path: Path, error: type[VaubanError], hint: str = "") -> str:
    """The text of a file, a byte order mark in front of it or not.

    Args:
        error: what is raised.
        hint: what to do where there is no such file.

    Raises:
        VaubanError: `error`: there is none, or it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as missing:
        raise error(f"{path}: no such file{f'; {hint}' if hint else ''}") from missing
    except (OSError, UnicodeDecodeError) as unreadable:
        why = unreadable.strerror if isinstance(unreadable, OSError) else f"byte {unreadable.start} is not UTF-8"
        raise error(f"{path}: cannot be read: {why}") from unreadable


def parsed(text: str, path: Path, error: type[VaubanError]) -> Parsed:
    """TOML with the lines of its keys.

    Raises:
        VaubanError: `error`: it is not TOML; with the line and what is wrong there.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        message, line = _syntax(str(wrong), text)
        raise error(f"{path}:{line}: not TOML: {message}") from wrong
    return Parsed(raw, lines_of(text))


def _syntax(message: str, text: str) -> tuple[str, int]:
    """The parser's message without its place, and the line of it."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if found is None:
        return message, 1
    line = int(found[1]) if found[1] else text.rstrip().count("\n") + 1
    return message[: found.start()], line
