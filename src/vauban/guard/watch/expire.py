"""What is older than it may be kept is deleted: fingerprints of faces are personal data."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import and_, bindparam, delete, select

from vauban.guard.storage import Store, Transaction
from vauban.guard.watch.clusters import shrink
from vauban.guard.watch.recall import marks_of
from vauban.guard.watch.tables import digests, inbox, marks, prints, streams

BATCH = 200
"""Prints that one transaction deletes, so that attempts do not wait."""
_OLDEST = (
    select(prints.c.id, prints.c.at, prints.c.sketch, prints.c.thumb, prints.c.cluster, prints.c.accept).order_by(prints.c.id).limit(BATCH)
)
_UNMARK = delete(marks).where(and_(marks.c.mark == bindparam("old_mark"), marks.c.print == bindparam("old_print")))


def expire(store: Store, keep: float, most: int = 50) -> int:
    """Delete what was seen longer ago than `keep` seconds, in at most `most` short transactions; how many prints those were.

    Raises:
        GuardDown: the database; what is left is deleted another time.
    """
    total = 0
    for _ in range(most):
        with store.write() as tx:
            before = tx.now() - keep
            gone = [r for r in tx.run(_OLDEST).all() if r.at < before]
            _forget(tx, gone)
            if len(gone) < BATCH:
                tx.run(delete(digests).where(digests.c.at < before))
                tx.run(delete(inbox).where(inbox.c.at < before))
                tx.run(delete(streams).where(streams.c.at < before))
        total += len(gone)
        if len(gone) < BATCH:
            break
    return total


def _forget(tx: Transaction, gone: list[Any]) -> None:
    if not gone:
        return
    pairs = [{"old_mark": m, "old_print": r.id} for r in gone for m in _marks(r)]
    if pairs:
        tx.run(_UNMARK, pairs)
    tx.run(delete(prints).where(prints.c.id.in_([r.id for r in gone])))
    shrink(tx, gone)


def _marks(row: Any) -> list[int]:
    """The marks of a print are made again from it, which saves an index on them."""
    return marks_of(np.frombuffer(row.sketch, np.int64), np.frombuffer(row.thumb, np.int8)[None])
