"""Which ensemble a session gets, and which there are."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import or_, select

from vauban.errors import BadGuard, GuardDown, nearest
from vauban.guard.config.model import Limits, Models
from vauban.guard.keys import Keys
from vauban.guard.rotation.budget import Spent, spent
from vauban.guard.rotation.tables import State, ensembles, moves
from vauban.guard.storage import Transaction

BUCKETS = 10_000
_DECIDING = select(ensembles).where(ensembles.c.state.in_([State.LIVE.value, State.CANARY.value]))  # built once: every session asks it


@dataclass(frozen=True)
class Entry:
    """One ensemble as the roster holds it.

    Attributes:
        percent: of devices that get it, while it is a canary.
        live_at: when it was live for the first time.
        queries: attempts it was there to decide, as far as they are counted.
    """

    id: str
    name: str
    state: State
    percent: float
    families: tuple[str, ...]
    registered_at: float
    live_at: float | None
    retired_at: float | None
    queries: int


@dataclass(frozen=True)
class Roster:
    """Says which ensemble decides what. All of it stands in the database, so that every node says the same.

    Args:
        keys: the guard's secrets; devices are dealt out by a keyed hash, so that nobody can choose which ensemble to be decided by.
        models: `[models]`.
        limits: `[limits]`, for the age that an ensemble may become.
    """

    keys: Keys = field(repr=False)
    models: Models = field(default_factory=Models)
    limits: Limits = field(default_factory=Limits)

    def assign(self, tx: Transaction, device: str) -> str:
        """The ensemble that a new session of this device gets; a session keeps it, whatever happens to the roster.

        Args:
            device: hashed. A device stays with one ensemble during a roll-out: whoever tries again is not dealt another.

        Raises:
            GuardDown: none is live, or it is overdue and [models] overdue = "refuse".
        """
        found = {e.state: e for e in map(_entry, tx.run(_DECIDING))}
        live, canary = found.get(State.LIVE), found.get(State.CANARY)
        if live is None:
            raise GuardDown("no ensemble is live; `vauban guard models live` puts one in service")
        if canary is not None and self.bucket(canary.id, device) < canary.percent * BUCKETS / 100:
            return canary.id
        if self.models.overdue == "refuse" and (due := self.spent(tx, live)).overdue:
            raise GuardDown(f"ensemble {live.name} is overdue: {due.text()}")
        return live.id

    def bucket(self, canary: str, device: str) -> int:
        """The place of a device in the roll-out of an ensemble, 0 to 9,999: another one in every roll-out, and nobody can tell which."""
        drawn = hmac.digest(self.keys.identity, f"canary\0{canary}\0{device}".encode(), sha256)
        return int.from_bytes(drawn[:8], "big") % BUCKETS

    def spent(self, tx: Transaction, entry: Entry) -> Spent:
        """How much of its time and of its questions an ensemble has used up."""
        age = 0.0 if entry.live_at is None else tx.now() - entry.live_at
        return spent(age, entry.queries, self.models, self.limits)


def serving(
    tx: Transaction, states: tuple[State, ...] = (State.LIVE, State.CANARY, State.SHADOW), since: float | None = None
) -> list[Entry]:
    """The ensembles in these states, and those that were retired since."""
    wanted = ensembles.c.state.in_([s.value for s in states])
    if since is not None:
        wanted = or_(wanted, ensembles.c.retired_at > since)
    return [_entry(row) for row in tx.run(select(ensembles).where(wanted))]


def every(tx: Transaction) -> list[Entry]:
    """All ensembles, newest first."""
    return [_entry(row) for row in tx.run(select(ensembles).order_by(ensembles.c.registered_at.desc(), ensembles.c.id))]


def named(tx: Transaction, name: str) -> Entry:
    """The ensemble with this name, or the start of this id.

    Raises:
        BadGuard: there is none.
    """
    held = every(tx)
    found = [e for e in held if e.name == name] or [e for e in held if len(name) >= 8 and e.id.startswith(name)]
    if len(found) != 1:
        raise BadGuard(f"no ensemble {name!r} is registered; {nearest(name, [e.name for e in held])}")
    return found[0]


def recently_live(tx: Transaction, most: int) -> list[Entry]:
    """The ensembles that were live last, the present one first."""
    held = {e.id: e for e in every(tx)}
    return [held[i] for i in list(dict.fromkeys(reversed(_went_live(tx))))[:most]]


def succession(tx: Transaction) -> list[Entry]:
    """The ensembles that were live one after another, the present one last; what was rolled back is not among them."""
    found: list[str] = []
    for ensemble in _went_live(tx):
        found = [*(found[: found.index(ensemble)] if ensemble in found else found), ensemble]
    held = {e.id: e for e in every(tx)}
    return [held[i] for i in found]


def _went_live(tx: Transaction) -> list[str]:
    return list(tx.run(select(moves.c.ensemble).where(moves.c.after == State.LIVE.value).order_by(moves.c.id)).scalars())


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        name=row.name,
        state=State(row.state),
        percent=row.percent,
        families=tuple(json.loads(row.families)),
        registered_at=row.registered_at,
        live_at=row.live_at,
        retired_at=row.retired_at,
        queries=int(row.queries),
    )
