"""Progress for people: plain lines that fit a log, and live bars for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from vauban.campaign.run.events import AttackFinished, ChunkFinished, ChunkStarted, Event, Finished, Note, Opened, SiegeStarted


class PlainLines:
    """One line a finished chunk."""

    def __init__(self, write: Callable[[str], object] = print) -> None:
        self.write = write

    def __call__(self, event: Event) -> None:
        for line in said(event):
            self.write(line)


def said(event: Event) -> list[str]:
    """What a person is told of an event: no line or one."""
    if isinstance(event, Opened):
        return [_opened(event)]
    if isinstance(event, ChunkFinished):
        left = f", about {clock(event.eta)} left" if event.eta is not None else ""
        share = f"{event.standing / event.rows:.1%}" if event.rows else "-"
        return [f"{event.threat}: chunk {event.chunk + 1} of {event.chunks}, {event.standing} of {event.rows} rows stand ({share}){left}"]
    if isinstance(event, Note):
        return [event.text]
    return []


def _opened(event: Opened) -> str:
    where = f" in {event.folder}" if event.folder else ""
    if event.complete:
        return f"{event.title}: finished before{where}; nothing is left to do"
    so_far = f", {event.done} of {event.chunks} chunks done before" if event.done else ""
    threats = f"{len(event.threats)} threats" if len(event.threats) > 1 else "1 threat"
    return f"{event.title}: {event.target}, {event.rows:,} rows, {threats}{where}{so_far}"


def clock(seconds: float) -> str:
    """Time left, roughly.

    >>> clock(5), clock(100), clock(9000)
    ('5 s', '2 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Bars:
    """One live bar a threat, with the attack at work, the rows still standing and the time left. Used as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[doing]}"))
        self._live = Progress(*columns, console=console, transient=True)
        self._bars: dict[str, TaskID] = {}
        self._eta = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Opened | Note):
            for line in said(event):
                self.console.print(line, markup=False, highlight=False)
        elif isinstance(event, SiegeStarted):
            self._bars[event.threat] = self._live.add_task(event.threat, total=event.chunks, completed=event.done, doing="")
        elif isinstance(event, ChunkStarted):
            self._say(event.threat, f"{event.rows} rows to attack")
        elif isinstance(event, AttackFinished):
            self._say(event.threat, f"{event.attack} ({event.place + 1}/{event.attacks}): {event.left} left")
        elif isinstance(event, ChunkFinished):
            self._eta = f", about {clock(event.eta)} left" if event.eta is not None else ""
            self._live.advance(self._bars[event.threat])
            self._say(event.threat, f"{event.standing} of {event.rows} rows stand")
        else:
            self._finish(event)

    def _say(self, threat: str, doing: str) -> None:
        self._live.update(self._bars[threat], doing=f"{doing}{self._eta}")

    def _finish(self, event: Finished) -> None:
        self._eta = ""
        self._live.refresh()
