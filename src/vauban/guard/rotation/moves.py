"""The moves of ensembles: registered, shadow, canary, live, retired; each in one transaction, with who and why, and into the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vauban.errors import BadGuard
from vauban.guard.config.model import Models
from vauban.guard.quorum.ensemble import Ensemble
from vauban.guard.rotation.roster import Entry, every, named, recently_live, succession
from vauban.guard.rotation.tables import State, counted, ensembles, gates, moves, tallies
from vauban.guard.rotation.tally import disagreement, tally_of
from vauban.guard.storage import Store, Transaction

Note = Callable[[Transaction, str, dict[str, Any]], object]
STEPS = {State.SHADOW: (State.REGISTERED, State.RETIRED), State.CANARY: (State.SHADOW, State.CANARY), State.LIVE: (State.CANARY,)}
"""From where each state is reached."""


@dataclass(frozen=True)
class Rotation:
    """Moves ensembles. Names are those of ensembles, or the start of an id.

    Args:
        store: the guard's database.
        models: `[models]`.
        by: who moves.
        note: writes into the ledger, in the same transaction: `ledger.append`.
    """

    store: Store
    models: Models
    by: str
    note: Note | None = None

    def register(self, ensemble: Ensemble) -> str:
        """Make an ensemble known that was verified and sealed; nothing else changes. Its id."""
        with self.store.write() as tx:
            lock(tx)
            self._registered(tx, ensemble)
        return ensemble.id

    def begin(self, ensemble: Ensemble) -> bool:
        """Put the very first ensemble in service, without a gate: there is nothing to compare it to. Whether it was."""
        with self.store.write() as tx:
            lock(tx)
            if recently_live(tx, 1):
                return False
            self._moved(tx, self._registered(tx, ensemble), State.LIVE, "the first ensemble")
            return True

    def shadow(self, name: str, why: str = "") -> Entry:
        """Let an ensemble answer beside the live one; what it says decides nothing.

        Raises:
            BadGuard: another is on its way already, or it is where this cannot be done from.
        """
        with self.store.write() as tx:
            lock(tx)
            entry = self._from(tx, name, State.SHADOW)
            others = [e.name for e in every(tx) if e.state in (State.SHADOW, State.CANARY)]
            if others:
                raise BadGuard(f"ensemble {others[0]} is on its way already; one at a time: roll it back, or let it become live")
            tx.run(delete(tallies).where(tallies.c.successor == entry.id))
            return self._moved(tx, entry, State.SHADOW, why)

    def canary(self, name: str, percent: float, why: str = "", override: str = "") -> Entry:
        """Let an ensemble decide for a share of the devices, or for another share.

        Args:
            override: why the gate and the shadow are passed over; it is written down.

        Raises:
            BadGuard: the gate has not passed it as the successor of the live one, or it has not answered enough in shadow, or too differently.
        """
        if not 0 < percent <= 100:
            raise BadGuard(f"percent = {percent:g} must lie in (0, 100]")
        with self.store.write() as tx:
            lock(tx)
            entry = self._from(tx, name, State.CANARY)
            if not override:
                self._gate_passed(tx, entry)
                self._shadow_passed(tx, entry)
            return self._moved(tx, entry, State.CANARY, _reason(why, override), percent)

    def live(self, name: str, why: str = "", override: str = "") -> Entry:
        """Let an ensemble decide everything; the one that did retires.

        Raises:
            BadGuard: it has not decided enough as a canary.
        """
        with self.store.write() as tx:
            lock(tx)
            entry = self._from(tx, name, State.LIVE) if not override else named(tx, name)
            if entry.state == State.LIVE:
                raise BadGuard(f"ensemble {entry.name} is live already")
            if not override:
                self._gate_passed(tx, entry)
                done = tally_of(tx, entry.id, entry.id, "canary").rows
                if done < self.models.canary:
                    raise BadGuard(
                        f"ensemble {entry.name} has decided {done} times as a canary; [models] canary = {self.models.canary} are wanted"
                    )
            return self._replaces(tx, entry, _reason(why, override))

    def retire(self, name: str, why: str = "") -> Entry:
        """Take an ensemble off its way. The live one is replaced, not retired.

        Raises:
            BadGuard: it is live.
        """
        with self.store.write() as tx:
            lock(tx)
            entry = named(tx, name)
            if entry.state == State.LIVE:
                raise BadGuard(f"ensemble {entry.name} is live; without it nothing is decided: make another one live, or roll back")
            return self._moved(tx, entry, State.RETIRED, why)

    def roll_back(self, why: str = "") -> Entry:
        """One step back: what is on its way is retired; if nothing is, the ensemble that was live before is live again. What is live then.

        Raises:
            BadGuard: there is nothing to go back to.
        """
        with self.store.write() as tx:
            lock(tx)
            recent = succession(tx)
            for entry in every(tx):
                if entry.state in (State.SHADOW, State.CANARY):
                    self._moved(tx, entry, State.RETIRED, f"rolled back. {why}".strip())
                    return recent[-1]
            if len(recent) < 2:
                raise BadGuard("no ensemble was live before the present one; there is nothing to go back to")
            return self._replaces(tx, recent[-2], f"rolled back. {why}".strip())

    def judged(self, tx: Transaction, successor: str, retiring: str, holds: bool, findings: list[dict[str, Any]]) -> None:
        """Keep what the gate found."""
        told = {"ensemble": successor, "retiring": retiring, "holds": holds}
        tx.run(insert(gates).values(at=tx.now(), findings=json.dumps(findings), **told))
        self._noted(tx, "gate", {**told, "by": self.by, "breached": [f["name"] for f in findings if f["verdict"] != "holds"]})

    def _registered(self, tx: Transaction, ensemble: Ensemble) -> Entry:
        held = {e.name: e for e in every(tx)}
        if ensemble.name in held and held[ensemble.name].id != ensemble.id:
            raise BadGuard(f"another ensemble was registered as {ensemble.name!r} before; give this one a name of its own")
        if ensemble.name not in held:
            told = {"id": ensemble.id, "name": ensemble.name, "families": json.dumps(ensemble.families), "percent": 0.0, "queries": 0}
            tx.run(insert(ensembles).values(state=State.REGISTERED.value, registered_at=tx.now(), **told))
            self._written(tx, ensemble.id, "", State.REGISTERED, 0.0, "")
        return named(tx, ensemble.name)

    def _replaces(self, tx: Transaction, entry: Entry, why: str) -> Entry:
        for other in every(tx):
            if other.state == State.LIVE:
                self._moved(tx, other, State.RETIRED, f"replaced by {entry.name}")
        return self._moved(tx, entry, State.LIVE, why)

    def _moved(self, tx: Transaction, entry: Entry, after: State, why: str, percent: float = 0.0) -> Entry:
        now = tx.now()
        change: dict[str, Any] = {"state": after.value, "percent": percent, "retired_at": now if after == State.RETIRED else None}
        if after == State.LIVE and entry.live_at is None:
            change["live_at"] = now
        tx.run(update(ensembles).where(ensembles.c.id == entry.id).values(**change))
        self._written(tx, entry.id, entry.state.value, after, percent, why)
        return named(tx, entry.name)

    def _written(self, tx: Transaction, ensemble: str, before: str, after: State, percent: float, why: str) -> None:
        told = {"ensemble": ensemble, "before": before, "after": after.value, "percent": percent, "by": self.by, "why": why}
        tx.run(insert(moves).values(at=tx.now(), **told))
        self._noted(tx, "rotation", told)

    def _noted(self, tx: Transaction, kind: str, told: dict[str, Any]) -> None:
        if self.note is not None:
            self.note(tx, kind, told)

    def _from(self, tx: Transaction, name: str, to: State) -> Entry:
        entry = named(tx, name)
        if entry.state not in STEPS[to]:
            raise BadGuard(f"ensemble {entry.name} is {entry.state}; it becomes {to} from {' or '.join(STEPS[to])}")
        return entry

    def _gate_passed(self, tx: Transaction, entry: Entry) -> None:
        recent = recently_live(tx, 1)
        if not recent:
            raise BadGuard("no ensemble is live; the first one begins without a gate")
        judged = gates.c.ensemble == entry.id, gates.c.retiring == recent[0].id
        row = tx.run(select(gates.c.holds).where(*judged).order_by(gates.c.id.desc())).first()
        if row is None or not row.holds:
            said = "has not looked at" if row is None else "refused"
            raise BadGuard(
                f"the gate {said} {entry.name} as the successor of {recent[0].name}; `vauban guard models gate {entry.name}` tells"
            )

    def _shadow_passed(self, tx: Transaction, entry: Entry) -> None:
        seen = disagreement(tx, entry.id)
        if seen.rows < self.models.shadow:
            raise BadGuard(
                f"ensemble {entry.name} has answered {seen.rows} times in shadow; [models] shadow = {self.models.shadow} are wanted"
            )
        if seen.rows and seen.failed:
            raise BadGuard(f"ensemble {entry.name} gave no answer to {seen.failed} of {seen.rows} in shadow; mend it first")


def lock(tx: Transaction) -> None:
    """Wait for everyone else who counts or moves; until this transaction ends they wait."""
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    tx.run(dialect.insert(counted).values(name="attempts", upto=0).on_conflict_do_nothing())
    tx.run(select(counted).where(counted.c.name == "attempts").with_for_update())


def _reason(why: str, override: str) -> str:
    return f"overridden: {override}. {why}".strip() if override else why
