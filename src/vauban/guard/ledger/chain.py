"""The chain of records: each carries a keyed code over itself and over the code of the one before, so an edit anywhere shows everywhere after."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, String, Table, Text, bindparam, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from vauban.guard.canonical import canonical
from vauban.guard.keys import Keys
from vauban.guard.ledger.anchor import Checkpoint, anchored
from vauban.guard.storage import METADATA, Prepared, Store, Transaction

records = Table(
    "ledger",
    METADATA,
    Column("node", String(80), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)
"""One row per thing that happened; `seq` counts 1, 2, 3, ... in each node's chain."""
ACTS = text("kind <> 'decision'")
"""What is no decision: checkpoints, and what operators did; few rows, so they are found by time."""
Index("ledger_acts", records.c.kind, records.c.at, sqlite_where=ACTS, postgresql_where=ACTS)
heads = Table(
    "ledger_heads",
    METADATA,
    Column("node", String(80), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)
"""The last row of each chain: who appends holds its lock until the transaction ends."""
CHECKPOINT = "checkpoint"
"""The kind of the row that tells of a checkpoint."""
_HEAD = Prepared(select(heads.c.seq, heads.c.mac).where(heads.c.node == bindparam("of")).with_for_update())
_APPEND = Prepared(insert(records))
_MOVE = Prepared(update(heads).where(heads.c.node == bindparam("of")))


def genesis(key: bytes, node: str) -> bytes:
    """What the first row of a chain is chained to; no two nodes share it."""
    return hmac.digest(key, canonical(["vauban ledger", node]).encode(), "sha256")


def code(key: bytes, before: bytes, node: str, seq: int, at: float, kind: str, body: str) -> bytes:
    """The 32 bytes that authenticate a row and, through the code before it, all rows before."""
    return hmac.digest(key, before + canonical([node, seq, at, kind, body]).encode(), "sha256")


@dataclass(frozen=True)
class Ledger:
    """The chain of one node.

    Args:
        keys: the guard's secrets.
        node: whose chain it is; processes that append a lot at once may each have one ("a/0", "a/1"), with names that stay.
    """

    keys: Keys = field(repr=False)
    node: str

    def append(self, tx: Transaction, kind: str, body: Mapping[str, Any], at: float | None = None) -> int:
        """Write what happened, in the transaction in which it happens: both are there, or neither.

        Do it last in a transaction: on PostgreSQL other appends of this node wait until it ends.

        Args:
            tx: that transaction.
            kind: one word: "decision", "released", ...
            body: what happened, as JSON can say it; nothing that names a person.
            at: seconds since 1970, where `tx.now()` was read already.

        Returns:
            The row's number in the chain, from 1.

        Raises:
            ValueError: the body holds NaN or an infinity.
            GuardDown: the database cannot be written: then what happened must not happen.
        """
        written = canonical(dict(body))
        head = self._head(tx)
        seq, when = head.seq + 1, tx.now() if at is None else at
        mac = code(self.keys.ledger, head.mac, self.node, seq, when, kind, written)
        tx.run(_APPEND, {"node": self.node, "seq": seq, "at": when, "kind": kind, "body": written, "mac": mac})
        tx.run(_MOVE, {"of": self.node, "seq": seq, "mac": mac})
        return seq

    def checkpoint(self, store: Store, anchor: Path, every: float = 0.0) -> Checkpoint | None:
        """Sign the heads of all chains and lay them outside the database: rows that were cut off the end are missed from then on.

        Args:
            store: the database.
            anchor: the file that a line is appended to; it belongs on a disk, a share or a log that an intruder in the database cannot rewrite.
            every: seconds; nothing is done when the newest checkpoint of the file is younger, so that several processes may all try.

        Returns:
            The checkpoint, or None when none was due.

        Raises:
            BadLedger: the database no longer holds what the last checkpoint signed, or the file's last line is none.
            GuardDown: the database cannot be read, or the file cannot be written.
        """
        made = anchored(self.keys, self.node, anchor, every, lambda: _heads(store), lambda node, seq: _mac(store, node, seq))
        if made is not None:  # the chain tells of it, so that lines cut off the end of the file are missed too
            with store.write() as tx:
                self.append(tx, CHECKPOINT, {"number": made.number, "digest": made.digest})
        return made

    def _head(self, tx: Transaction) -> Any:
        row = tx.run(_HEAD, {"of": self.node}).first()
        if row is None:
            dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
            start = {"node": self.node, "seq": 0, "mac": genesis(self.keys.ledger, self.node)}
            tx.run(dialect.insert(heads).values(**start).on_conflict_do_nothing())
            row = tx.run(_HEAD, {"of": self.node}).one()
        return row


def _heads(store: Store) -> tuple[float, dict[str, tuple[int, str]]]:
    with store.read() as tx:
        return tx.now(), {row.node: (row.seq, bytes(row.mac).hex()) for row in tx.run(select(heads).order_by(heads.c.node))}


def _mac(store: Store, node: str, seq: int) -> str | None:
    with store.read() as tx:
        found = tx.run(select(records.c.mac).where(records.c.node == node, records.c.seq == seq)).scalar()
    return None if found is None else bytes(found).hex()
