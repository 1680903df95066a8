"""The table of attempts, which receipts are read from, beside the records of decisions in the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import func, select

from vauban.guard.ledger.chain import records
from vauban.guard.ledger.verify import AT_ONCE
from vauban.guard.limits.tables import attempts
from vauban.guard.storage import Store

DECISION = "decision"
"""The kind of their records."""


def differing(store: Store) -> str:
    """The first attempt that is not as its record says, as a sentence; empty where there is none. Worth asking of a ledger that holds.

    Raises:
        GuardDown: the database cannot be read.
    """
    with store.read() as tx:  # before any record is read: what is decided meanwhile has its record, and is not counted
        decided = int(tx.run(select(func.count()).select_from(attempts).where(attempts.c.state == "decided")).scalar_one())
    matched = 0
    for told in _decisions(store):
        with store.read() as tx:
            held = {int(r.id): r.accept for r in tx.run(select(attempts.c.id, attempts.c.accept).where(attempts.c.id.in_(told)))}
        for number, accept in told.items():
            if number not in held:
                return f"attempt {number} is missing: the ledger has its decision"
            if held[number] is None or bool(held[number]) != accept:
                return f"attempt {number} was changed: its record says {'accept' if accept else 'reject'}"
        matched += len(held)
    return "" if decided <= matched else f"{decided} attempts are decided, and the ledger has the decisions of {matched}"


def _decisions(store: Store) -> Iterator[Mapping[int, bool]]:
    """What was decided by attempt, some at a time, from all chains."""
    with store.read() as tx:
        nodes = list(tx.run(select(records.c.node).distinct()).scalars())
    for node in nodes:
        seq = 0
        while rows := _next(store, node, seq):
            seq = int(rows[-1].seq)
            bodies = [json.loads(row.body) for row in rows if row.kind == DECISION]
            yield {int(body["attempt"]): bool(body["accept"]) for body in bodies}


def _next(store: Store, node: str, seq: int) -> list[Any]:
    query = select(records.c.seq, records.c.kind, records.c.body).where(records.c.node == node, records.c.seq > seq)
    with store.read() as tx:
        return list(tx.run(query.order_by(records.c.seq).limit(AT_ONCE)).all())
