"""What rotation does every few seconds: counts questions, adds up the shadow, takes a failing canary back, and tells what is overdue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vauban.guard.alerts.board import Alert, Severity
from vauban.guard.limits.tables import attempts
from vauban.guard.quorum.votes import Verdict
from vauban.guard.rotation.moves import Rotation, lock
from vauban.guard.rotation.roster import Entry, Roster, every
from vauban.guard.rotation.tables import State, counted, ensembles, shadowed, tallies
from vauban.guard.rotation.tally import differ, tally_of
from vauban.guard.storage import Prepared, Transaction

SETTLED = 15.0
"""Seconds after which an attempt that was admitted has its decision, or never gets one."""
_SHADOWED = Prepared(insert(shadowed))


def compare(tx: Transaction, decided: bool, verdict: Verdict | None) -> None:
    """Keep what the ensemble in shadow said to a picture, beside what was decided; in the transaction of the decision."""
    if verdict is not None:
        tx.run(_SHADOWED, {"ensemble": verdict.ensemble, "live": decided, "accept": verdict.accept if verdict.votes else None})


@dataclass(frozen=True)
class Keeper:
    """Looks after the roster. Any process of any node may; they take turns.

    Args:
        roster: what is allowed.
        rotation: moves ensembles, in the keeper's name.
        alert: tells an operator: `alerts.alert`.
    """

    roster: Roster
    rotation: Rotation
    alert: Alert | None = None

    def tick(self) -> None:
        """Count, and act on what was counted.

        Raises:
            GuardDown: the database cannot be asked.
        """
        with self.rotation.store.write() as tx:
            lock(tx)
            held = {e.state: e for e in every(tx)}
            live, canary = held.get(State.LIVE), held.get(State.CANARY)
            _count(tx, live, canary)
            _add_up(tx, live)
            why = differ(*_both(tx, live, canary), self.roster.models.apart) if live and canary else ""
            self._overdue(tx)
            if canary and why:
                self._tell(tx, "canary", "critical", {"ensemble": canary.name, "why": why})
        if canary and why:
            self.rotation.roll_back(why)

    def _overdue(self, tx: Transaction) -> None:
        for entry in every(tx):
            if entry.state == State.LIVE and (used := self.roster.spent(tx, entry)).near:
                severity = "critical" if used.overdue else "warning"
                self._tell(tx, "rotation", severity, {"ensemble": entry.name, "used": round(used.share, 3), "why": used.text()})

    def _tell(self, tx: Transaction, monitor: str, severity: Severity, evidence: dict[str, Any]) -> None:
        if self.alert is not None:
            self.alert(tx, monitor, severity, evidence)


def _both(tx: Transaction, live: Entry, canary: Entry) -> tuple[Any, Any]:
    return tally_of(tx, canary.id, canary.id, "canary"), tally_of(tx, canary.id, live.id, "canary")


def _count(tx: Transaction, live: Entry | None, canary: Entry | None) -> None:
    """Count the attempts since the last time, up to the first that may still be decided."""
    last = int(tx.run(select(counted.c.upto).where(counted.c.name == "attempts")).scalar_one())
    later = attempts.c.id > last
    open_one = tx.run(select(func.min(attempts.c.id)).where(later, attempts.c.at > tx.now() - SETTLED)).scalar_one()
    newest = tx.run(select(func.max(attempts.c.id)).where(later)).scalar_one()
    upto = last if newest is None else newest if open_one is None else open_one - 1
    if upto == last:
        return
    yes, none = (func.sum(case((which, 1), else_=0)) for which in (attempts.c.accept.is_(True), attempts.c.accept.is_(None)))
    grouped = select(attempts.c.ensemble, func.count(), yes, none).where(later, attempts.c.id <= upto).group_by(attempts.c.ensemble)
    for name, rows, accepted, failed in tx.run(grouped).all():
        tx.run(update(ensembles).where(ensembles.c.id == name).values(queries=ensembles.c.queries + rows))
        if live and canary and name in (live.id, canary.id):
            _add(tx, canary.id, name, "canary", rows=rows, accepted=accepted, failed=failed, apart=0)
    tx.run(update(counted).where(counted.c.name == "attempts").values(upto=upto))


def _add_up(tx: Transaction, live: Entry | None) -> None:
    """Add up what was said in shadow, and let the rows go."""
    gone = tx.run(delete(shadowed).returning(shadowed.c.ensemble, shadowed.c.live, shadowed.c.accept)).all()
    for name in {row.ensemble for row in gone}:
        said = [row for row in gone if row.ensemble == name]
        failed, apart = sum(r.accept is None for r in said), sum(r.accept is not None and r.accept != r.live for r in said)
        _add(tx, name, name, "shadow", rows=len(said), accepted=sum(r.accept is True for r in said), failed=failed, apart=apart)
        if live is not None:
            _add(tx, name, live.id, "shadow", rows=len(said), accepted=sum(r.live for r in said), failed=0, apart=0)


def _add(tx: Transaction, successor: str, ensemble: str, kind: str, **counts: int) -> None:
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    new = dialect.insert(tallies).values(successor=successor, ensemble=ensemble, kind=kind, **counts)
    more = {name: tallies.c[name] + new.excluded[name] for name in counts}
    tx.run(new.on_conflict_do_update(index_elements=["successor", "ensemble", "kind"], set_=more))
