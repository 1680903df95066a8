"""What happens while a campaign runs, as events: for people, for programs, and for the run folder."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

import msgspec


@dataclass(frozen=True, slots=True)
class Opened:
    """A campaign begins, or goes on where it was left.

    Attributes:
        folder: the run folder; None when everything stays in memory.
        done, chunks: chunks finished before, and chunks in all.
        complete: whether nothing is left to do.
    """

    title: str
    target: str
    rows: int
    threats: tuple[str, ...]
    folder: Path | None
    done: int
    chunks: int
    complete: bool = False


@dataclass(frozen=True, slots=True)
class SiegeStarted:
    """Work under a threat begins. `attacks` are labels, `done` chunks were finished before."""

    threat: str
    attacks: tuple[str, ...]
    chunks: int
    done: int


@dataclass(frozen=True, slots=True)
class ChunkStarted:
    """A chunk begins: `rows` of it are to be attacked."""

    threat: str
    chunk: int
    chunks: int
    rows: int


@dataclass(frozen=True, slots=True)
class AttackFinished:
    """An attack is done with a chunk: `left` of the rows that it or others tried are standing."""

    threat: str
    chunk: int
    attack: str
    place: int
    attacks: int
    left: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ChunkFinished:
    """A chunk is finished and on disk.

    Attributes:
        rows, standing: rows of the denominator so far under this threat, and how many of them withstood.
        eta: seconds until the whole campaign is done, judged by the chunks of this session; None when unknown.
    """

    threat: str
    chunk: int
    chunks: int
    rows: int
    standing: int
    seconds: float
    eta: float | None


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The record is written, or the campaign was interrupted and an incomplete one is."""

    complete: bool
    seconds: float
    folder: Path | None


Event = Opened | SiegeStarted | ChunkStarted | AttackFinished | ChunkFinished | Note | Finished


class Progress(Protocol):
    """Who is told what happens. Bars, lines and files all are one."""

    def __call__(self, event: Event) -> None: ...


def quiet(event: Event) -> None:
    """Tells nobody."""


class Several:
    """Tells several."""

    def __init__(self, *listeners: Progress) -> None:
        self.listeners = listeners

    def __call__(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


class JsonLines:
    """One event a line, as JSON with its kind and time, flushed at once.

    Args:
        out: an open text file, or a path to append to.
    """

    def __init__(self, out: TextIO | Path) -> None:
        self.out = out

    def __call__(self, event: Event) -> None:
        line = msgspec.json.encode(as_json(event)).decode() + "\n"
        if isinstance(self.out, Path):
            with self.out.open("a", encoding="utf-8") as file:
                file.write(line)
            return
        self.out.write(line)
        self.out.flush()


def as_json(event: Event) -> dict[str, Any]:
    """An event in plain values.

    >>> as_json(Note("hello"))["event"]
    'note'
    """
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower()
    values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(event).items()}
    return {"event": kind, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}
