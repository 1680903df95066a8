"""Waivers: breaches that somebody answers for until a date. Needs no torch.

[[waiver]]
threat = "insider"
metric = "robust accuracy"
until = 2027-01-31
reason = "Hardened weights ship with release 13; traffic is screened until then."
by = "A. Rossi, model risk"
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from vauban.campaign.compare import METRICS as COMPARED
from vauban.campaign.verdict import Judgement, Verdict
from vauban.errors import BadPlan, nearest
from vauban.toml import Where, line_at, parsed, text_of

METRICS = ("robust accuracy", "clean accuracy", *COMPARED)
"""What can be waived: promises, and being no worse than a baseline."""
KEYS = ("threat", "metric", "until", "reason", "by")


@dataclass(frozen=True, slots=True)
class Waiver:
    """One breach that is excused.

    Attributes:
        threat, metric: which promise.
        until: the last day on which it counts.
        reason, by: why, and who answers for it.
    """

    threat: str
    metric: str
    until: datetime.date
    reason: str
    by: str

    def text(self) -> str:
        return f"until {self.until.isoformat()} by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Waived:
    """Judgements with their waivers entered, and what there is to say about waivers that excuse nothing.

    Attributes:
        judgements: as they were, breaches that are excused with `waived` filled in; their verdict stays what it is.
        notes: a sentence for each waiver that is expired, or that no breach needs.
    """

    judgements: tuple[Judgement, ...]
    notes: tuple[str, ...] = ()

    @property
    def counting(self) -> tuple[Verdict, ...]:
        """The verdicts that count: a waived breach counts as holding."""
        return tuple(Verdict.HOLDS if j.waived else j.verdict for j in self.judgements)


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """The waivers of a TOML file.

    Raises:
        BadPlan: it cannot be read, or a waiver lacks something or says what cannot be meant; with file and line.
    """
    raw, lines = parsed(text_of(path, BadPlan, "waivers are tables [[waiver]] in a file of TOML"), path, BadPlan)
    for key in raw:
        if key != "waiver":
            raise BadPlan(f"{path}:{line_at(lines, (key,))}: no key {key!r} is known here; a waiver is a table [[waiver]]")
    many: list[object] = raw.get("waiver", [])
    if not isinstance(many, list):  # pyright: ignore[reportUnnecessaryIsInstance]  # a person wrote it
        raise BadPlan(f"{path}:{line_at(lines, ('waiver',))}: waiver must be an array of tables; write [[waiver]]")
    return tuple(_waiver(w, i, path, lines) for i, w in enumerate(many))


def apply(judgements: Sequence[Judgement], waivers: Iterable[Waiver], today: datetime.date | None = None) -> Waived:
    """Enter waivers into judgements.

    Args:
        judgements: what was promised, judged.
        waivers: of several for one promise, the one that lasts longest counts.
        today: the day it is; waivers that ended before it do not count.
    """
    day = datetime.datetime.now(datetime.UTC).date() if today is None else today
    waivers = sorted(waivers, key=lambda w: w.until)
    good = {(w.threat, w.metric): w for w in waivers if w.until >= day}
    entered = tuple(_entered(j, good) for j in judgements)
    breaches = {(j.threat, j.metric) for j in judgements if j.verdict is Verdict.BREACHED}
    expired = [w for w in waivers if w.until < day and (w.threat, w.metric) not in good]
    notes = [f"the waiver of {w.metric} under {w.threat!r} by {w.by} expired on {w.until.isoformat()} and does not count" for w in expired]
    idle = [w for key, w in good.items() if key not in breaches]
    notes += [f"the waiver of {w.metric} under {w.threat!r} by {w.by} excuses nothing: no such promise is broken" for w in idle]
    return Waived(entered, tuple(notes))


def _entered(judgement: Judgement, waivers: dict[tuple[str, str], Waiver]) -> Judgement:
    waiver = waivers.get((judgement.threat, judgement.metric))
    return replace(judgement, waived=waiver.text()) if waiver and judgement.verdict is Verdict.BREACHED else judgement


def _waiver(raw: object, place: int, path: Path, lines: dict[Where, int]) -> Waiver:
    def wrong(message: str, *key: str) -> BadPlan:
        return BadPlan(f"{path}:{line_at(lines, ('waiver', place, *key))}: [[waiver]] number {place + 1}: {message}")

    if not isinstance(raw, dict):
        raise wrong("must be a table; write [[waiver]]")
    table = cast("dict[str, Any]", raw)
    for key in table:
        if key not in KEYS:
            raise wrong(f"no key {key!r} is known here; {nearest(key, KEYS)}", key)
    for key in KEYS:
        if key not in table:
            raise wrong(f"the key {key!r} is missing; a waiver has {', '.join(KEYS)}")
        if key != "until" and not (isinstance(table[key], str) and table[key].strip()):
            raise wrong(f"{key} must be a text that says something", key)
    until = table["until"]
    if isinstance(until, datetime.datetime) or not isinstance(until, datetime.date):
        raise wrong(f"until = {str(until)!r} must be a date without quotes, such as 2027-01-31", "until")
    if table["metric"] not in METRICS:
        raise wrong(f"metric = {table['metric']!r} is not one; {nearest(table['metric'], METRICS)}", "metric")
    return Waiver(**table)
