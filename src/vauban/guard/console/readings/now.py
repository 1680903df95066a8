"""What the guard does now: decisions, their rate, how long they take, and whether everything it needs is there."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select

from vauban.guard.alerts.tables import OPEN, alerts, deliveries
from vauban.guard.config import GuardFile
from vauban.guard.console.readings.shares import Share, slot, span
from vauban.guard.ledger.chain import ACTS, CHECKPOINT, records
from vauban.guard.limits.tables import attempts
from vauban.guard.rotation.roster import serving
from vauban.guard.rotation.tables import State
from vauban.guard.storage import Store, Transaction
from vauban.guard.watch.tables import inbox

HOUR = 3600.0
SLOT, SLOTS = 1800.0, 48
SAMPLE = 2000
"""Latest decisions whose duration is looked at."""
BEHIND = 5000
"""Attempts that monitors may not have counted yet without anybody minding."""


@dataclass(frozen=True)
class Slot:
    """Decisions of half an hour.

    Attributes:
        at: its beginning.
    """

    at: float
    accepted: int
    rejected: int

    @property
    def share(self) -> Share:
        """What was accepted."""
        return Share(self.accepted, self.accepted + self.rejected)


@dataclass(frozen=True)
class Check:
    """One thing that is needed, and how it stands.

    Attributes:
        state: "good", "poor" or "bad".
        said: a few words.
    """

    name: str
    state: str
    said: str


@dataclass(frozen=True)
class Now:
    """The first page.

    Attributes:
        at: when it was read, by the database's clock.
        hour, day: what was accepted.
        slots: the last 24 hours, oldest first.
        undecided: attempts of the last day that came to no decision: they were no images, or something was down.
        middle, slow: median and 95th percentile of the seconds of work for a decision; None without any.
        flags: what was noticed in the last day, commonest first: by the watch, and why attempts came to no decision.
        alerts: open ones by severity.
        checks: what is needed.
    """

    at: float
    hour: Share
    day: Share
    slots: tuple[Slot, ...]
    undecided: int
    middle: float | None
    slow: float | None
    flags: tuple[tuple[str, int], ...]
    alerts: dict[str, int]
    checks: tuple[Check, ...]

    @property
    def attempts(self) -> int:
        """Of the last day, decided or not."""
        return self.day.rows + self.undecided

    @property
    def ready(self) -> bool:
        """Whether nothing that is needed is missing."""
        return all(check.state != "bad" for check in self.checks)


def now_of(store: Store, config: GuardFile) -> Now:
    """Read it.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        now = tx.now()
        slots, flags = _slots(tx, now), _flags(tx, now)
        day = Share(sum(s.accepted for s in slots), sum(s.accepted + s.rejected for s in slots))
        open_ = {str(s): int(n) for s, n in tx.run(select(alerts.c.severity, func.count()).where(OPEN).group_by(alerts.c.severity))}
        middle, slow = _seconds(tx, now)
        return Now(now, _hour(tx, now), day, slots, _undecided(tx, now), middle, slow, flags, open_, checks(tx, config))


def checks(tx: Transaction, config: GuardFile) -> tuple[Check, ...]:
    """What the guard needs, asked now."""
    began = time.perf_counter()
    now = tx.now()
    took = 1000 * (time.perf_counter() - began)
    database = Check("database", "good" if took < 100 else "poor", f"answers in {took:.1f} ms")
    live = serving(tx, (State.LIVE,))
    ensemble = Check("ensemble", "good", f"{live[0].name} is live") if live else Check("ensemble", "bad", "none is live")
    return (database, ensemble, _signed(tx, config, now), *_behind(tx, now))


def _signed(tx: Transaction, config: GuardFile, now: float) -> Check:
    at = tx.run(select(func.max(records.c.at)).where(ACTS, records.c.kind == CHECKPOINT)).scalar()
    if at is None:
        return Check("ledger", "poor", "not signed yet")
    return Check("ledger", "good" if now - at < 3 * config.ledger.checkpoint else "poor", f"signed {span(now - at)} ago")


def _behind(tx: Transaction, now: float) -> tuple[Check, ...]:
    waiting = tx.run(select(func.count()).select_from(inbox)).scalar_one()
    late = tx.run(select(func.count()).where(deliveries.c.next.is_not(None), deliveries.c.tries > 2)).scalar_one()
    counted = Check(
        "monitors", "good" if waiting < BEHIND else "poor", f"{waiting:,} attempts not counted yet" if waiting else "up to date"
    )
    return counted, Check("webhooks", "poor" if late else "good", f"{late} messages are not taken" if late else "nothing waits")


def _slots(tx: Transaction, now: float) -> tuple[Slot, ...]:
    start = _start(now)
    number = slot(tx, attempts.c.decided_at, start, SLOT).label("slot")
    query = select(number, attempts.c.accept, func.count()).where(attempts.c.decided_at >= start, attempts.c.accept.is_not(None))
    found = {(int(n), bool(accept)): int(rows) for n, accept, rows in tx.run(query.group_by(number, attempts.c.accept))}
    return tuple(Slot(start + i * SLOT, found.get((i, True), 0), found.get((i, False), 0)) for i in range(SLOTS))


def _undecided(tx: Transaction, now: float) -> int:
    """Attempts that came to nothing, as was written down, or as long without a word that they must have."""
    failed = (attempts.c.state == "failed") & (attempts.c.decided_at >= _start(now))
    silent = attempts.c.decided_at.is_(None) & attempts.c.at.between(_start(now), now - 60)
    return int(tx.run(select(func.count()).select_from(attempts).where(failed | silent)).scalar_one())


def _start(now: float) -> float:
    """Where the first slot begins: what is said of a day is said of the same attempts."""
    return (now // SLOT + 1 - SLOTS) * SLOT


def _hour(tx: Transaction, now: float) -> Share:
    query = select(attempts.c.accept, func.count()).where(attempts.c.decided_at > now - HOUR, attempts.c.accept.is_not(None))
    found = {bool(accept): int(rows) for accept, rows in tx.run(query.group_by(attempts.c.accept))}
    return Share(found.get(True, 0), sum(found.values()))


def _flags(tx: Transaction, now: float) -> tuple[tuple[str, int], ...]:
    query = select(attempts.c.flags, func.count()).where(attempts.c.decided_at >= _start(now), attempts.c.flags != "[]")
    found: Counter[str] = Counter()
    for text, rows in tx.run(query.group_by(attempts.c.flags)):
        for flag in json.loads(text):
            found[str(flag)] += int(rows)
    return tuple(found.most_common())


def _seconds(tx: Transaction, now: float) -> tuple[float | None, float | None]:
    query = select(attempts.c.seconds).where(attempts.c.decided_at > now - HOUR, attempts.c.seconds.is_not(None))
    found = sorted(tx.run(query.order_by(attempts.c.decided_at.desc()).limit(SAMPLE)).scalars())
    return (found[len(found) // 2], found[int(0.95 * len(found))]) if found else (None, None)
