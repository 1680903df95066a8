"""The ensembles: what the live one has used up, how far a successor is, and who moved what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from vauban.guard.config import GuardFile
from vauban.guard.console.readings.shares import Share
from vauban.guard.keys import Keys
from vauban.guard.rotation.budget import Spent
from vauban.guard.rotation.roster import Entry, Roster, every, recently_live
from vauban.guard.rotation.tables import State, gates, moves
from vauban.guard.rotation.tally import Tally, tally_of
from vauban.guard.storage import Store, Transaction


@dataclass(frozen=True)
class Gate:
    """What the gate last found of a successor.

    Attributes:
        findings: as they were stored: "name", "verdict" and "text".
    """

    at: float
    holds: bool
    findings: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Rollout:
    """A successor on its way.

    Attributes:
        shadow: what it answered beside the live one; how many are wanted before it decides anything.
        canary, live: what both decided meanwhile; how many are wanted of it before it decides everything.
    """

    entry: Entry
    gate: Gate | None
    shadow: Tally
    shadow_wanted: int
    canary: Tally
    live: Tally
    canary_wanted: int

    @property
    def apart(self) -> Share:
        """How often it would have decided otherwise."""
        return Share(self.shadow.apart, self.shadow.rows)

    @property
    def rates(self) -> tuple[tuple[str, Share], ...]:
        """What both accept."""
        return (
            ("successor", Share(self.canary.accepted, self.canary.rows)),
            ("live", Share(self.live.accepted, self.live.rows)),
        )


@dataclass(frozen=True)
class Move:
    """Who moved which ensemble where."""

    at: float
    ensemble: str
    before: str
    after: str
    percent: float
    by: str
    why: str


@dataclass(frozen=True)
class Ensembles:
    """The page.

    Attributes:
        spent: what the live one has used up.
        back: the ensemble that a roll-back leads to; "" where there is none.
    """

    live: Entry | None
    spent: Spent | None
    rollout: Rollout | None
    entries: tuple[Entry, ...]
    moves: tuple[Move, ...]
    back: str


def ensembles_of(store: Store, keys: Keys, config: GuardFile) -> Ensembles:
    """Read it.

    Raises:
        GuardDown: the database does not answer.
    """
    roster = Roster(keys, config.models, config.limits)
    with store.read() as tx:
        entries = every(tx)
        live = next((e for e in entries if e.state == State.LIVE), None)
        coming = next((e for e in entries if e.state in (State.SHADOW, State.CANARY)), None)
        names = {str(e.id): str(e.name) for e in entries}
        recent = recently_live(tx, 2)
        back = live.name if coming and live else recent[1].name if len(recent) > 1 else ""
        return Ensembles(
            live=live,
            spent=roster.spent(tx, live) if live else None,
            rollout=_rollout(tx, coming, live, config) if coming else None,
            entries=tuple(entries),
            moves=tuple(_move(row, names) for row in tx.run(select(moves).order_by(moves.c.id.desc()).limit(20))),
            back=back,
        )


def _rollout(tx: Transaction, coming: Entry, live: Entry | None, config: GuardFile) -> Rollout:
    row = tx.run(select(gates).where(gates.c.ensemble == coming.id).order_by(gates.c.id.desc()).limit(1)).first()
    return Rollout(
        entry=coming,
        gate=None if row is None else Gate(row.at, bool(row.holds), tuple(json.loads(row.findings))),
        shadow=tally_of(tx, coming.id, coming.id, "shadow"),
        shadow_wanted=config.models.shadow,
        canary=tally_of(tx, coming.id, coming.id, "canary"),
        live=tally_of(tx, coming.id, live.id, "canary") if live else Tally(),
        canary_wanted=config.models.canary,
    )


def _move(row: Any, names: dict[str, str]) -> Move:
    return Move(row.at, names.get(str(row.ensemble), str(row.ensemble)[:12]), row.before, row.after, row.percent, row.by, row.why)
