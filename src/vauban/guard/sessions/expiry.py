"""What nobody needs any more is deleted: sessions long over, and logs whose last attempt has left its window."""

from __future__ import annotations

from sqlalchemy import Column, Table, delete, select

from vauban.guard.limits.tables import limits
from vauban.guard.sessions.tables import sessions
from vauban.guard.storage import Store

KEEP = 48 * 3600.0
"""Seconds for which a backend may fetch what came of a session, after its token expired."""
BATCH = 500
"""Rows that one transaction deletes, so that attempts do not wait."""


def forget(store: Store, keep: float = KEEP, most: int = 50) -> int:
    """Delete it, in short transactions, at most `most` for each table; how many rows that were. Attempts stay.

    Raises:
        GuardDown: the database; what is left is deleted another time.
    """
    kinds = ((sessions, sessions.c.id, sessions.c.expires, keep), (limits, limits.c.key, limits.c.until, 0.0))
    return sum(_forget(store, *kind, most) for kind in kinds)


def _forget(store: Store, table: Table, key: Column[str], ended: Column[float], keep: float, most: int) -> int:
    total = 0
    for _ in range(most):
        with store.write() as tx:
            before = tx.now() - keep
            old = select(key).where(ended < before).order_by(key).limit(BATCH)
            # whatever became newer while its lock was waited for is looked at again, and stays
            gone = int(tx.run(delete(table).where(key.in_(old), ended < before)).rowcount)
        total += gone
        if gone < BATCH:
            break
    return total
