"""Raise an alert, and put it away once an operator has looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vauban.guard.alerts.tables import OPEN, alerts, outbox
from vauban.guard.canonical import canonical
from vauban.guard.storage import Transaction

Severity = Literal["notice", "warning", "critical"]
Alert = Callable[[Transaction, str, Severity, dict[str, Any]], object]
"""`alert`, or what a test puts in its place."""
RANK = {"notice": 0, "warning": 1, "critical": 2}


def alert(tx: Transaction, monitor: str, severity: Severity, evidence: Mapping[str, Any]) -> int:
    """Raise an alert, in the transaction in which its reason was found.

    While one of this monitor is open it is not opened again: it is counted, keeps its first evidence beside the latest, and can only become more
    severe. What is new is put into the outbox of webhooks in the same transaction.

    Args:
        tx: that transaction.
        monitor: what alarmed, "boundary-band" or "cluster/17"; at most 120 characters.
        severity: "notice" for the record, "warning" to look at today, "critical" to wake somebody.
        evidence: numbers and names that show why, as JSON can say it; it is sent to webhooks, so nothing that names a person.

    Returns:
        The alert's number.
    """
    told, now = canonical(dict(evidence)), tx.now()
    found = _open(tx, monitor)
    if found is None:
        start = {"monitor": monitor, "severity": severity, "opened": now, "seen": now, "count": 1, "evidence": told, "latest": told}
        dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(alerts).values(**start).on_conflict_do_nothing(index_elements=["monitor"], index_where=OPEN)
        number = tx.run(statement.returning(alerts.c.id)).scalar()
        if number is not None:
            _tell(tx, int(number), "opened", now)
            return int(number)
        found = _open(tx, monitor)  # another process opened it in this moment
    worse = RANK[severity] > RANK[found.severity]
    change = {"seen": now, "count": found.count + 1, "latest": told, **({"severity": severity} if worse else {})}
    tx.run(update(alerts).where(alerts.c.id == found.id).values(**change))
    if worse:
        _tell(tx, int(found.id), "raised", now)
    return int(found.id)


def acknowledge(tx: Transaction, number: int, by: str, note: str = "") -> bool:
    """Put an open alert away; when its monitor alarms again, a new one is opened.

    Args:
        tx: a transaction.
        number: the alert's.
        by: the operator's name.
        note: what was found; at most 500 characters are kept.

    Returns:
        Whether there was such an open alert.
    """
    now = tx.now()
    change = update(alerts).where(alerts.c.id == number, OPEN).values(closed=now, closed_by=by, note=note[:500])
    if tx.run(change).rowcount == 0:
        return False
    _tell(tx, number, "acknowledged", now)
    return True


def _open(tx: Transaction, monitor: str) -> Any:
    return tx.run(select(alerts).where(alerts.c.monitor == monitor, OPEN).with_for_update()).first()


def _tell(tx: Transaction, number: int, event: str, now: float) -> None:
    row = tx.run(select(alerts).where(alerts.c.id == number)).one()
    told = {
        "id": row.id,
        "monitor": row.monitor,
        "severity": row.severity,
        "opened": row.opened,
        "count": row.count,
        "closed_by": row.closed_by,
    }
    body = canonical({"event": f"alert.{event}", "alert": told})[:-1] + f',"evidence":{row.latest}' + "}"
    tx.run(insert(outbox).values(at=now, alert=number, event=event, body=body))
