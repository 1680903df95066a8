"""Read a whole ledger and say whether anything in it was changed, taken out, put in or reordered since it was written, and where first."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select

from vauban.guard.keys import Keys
from vauban.guard.ledger.anchor import Checkpoint, checkpoints
from vauban.guard.ledger.chain import CHECKPOINT, code, genesis, heads, records
from vauban.guard.storage import Store

AT_ONCE = 2000
"""Rows that one statement reads: a ledger of years is read without a long transaction."""


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong in a chain or in a file of checkpoints.

    Attributes:
        chain: the node whose chain it is, or the file.
        seq: the row; None for a file.
        why: what is wrong, as the end of a sentence.
    """

    chain: str
    seq: int | None
    why: str

    def __str__(self) -> str:
        return f'ledger of "{self.chain}": row {self.seq} {self.why}' if self.seq is not None else f"{self.chain}: {self.why}"


@dataclass(frozen=True)
class Checked:
    """What was read.

    Attributes:
        rows: that were read and are in order.
        chains: rows of each chain, up to its first fault.
        checkpoints: that were read and are in order.
        newest: when the newest of them was signed, in seconds since 1970; of rows after it only the database's own count is known.
        faults: the first of each chain and of each file; none when all is well.
        told: how many rows tell of checkpoints, whether a file of them was given or not.
    """

    rows: int
    chains: dict[str, int]
    checkpoints: int
    newest: float | None
    faults: tuple[Fault, ...]
    told: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(store: Store, keys: Keys, anchors: Sequence[Path] = ()) -> Checked:
    """Check every row of every chain, and all checkpoints against them.

    Rows that are written meanwhile are left out.

    Args:
        store: the database.
        keys: the secrets that the ledger was written with.
        anchors: the files of checkpoints, of all nodes that wrote one; with none, rows cut off the end together with the database's count of them
            are not missed, nor is a whole chain.

    Raises:
        BadLedger: a file of checkpoints cannot be read.
        GuardDown: the database cannot be read.
    """
    stored = _stored(store)  # before the counts: rows that are written in between are counted, never the other way round
    with store.read() as tx:
        counted = {row.node: (int(row.seq), bytes(row.mac)) for row in tx.run(select(heads))}
    signed, faults = _signed(anchors, keys.public)
    known = {c.digest for c in signed} if anchors else None
    chains: dict[str, int] = {}
    told = 0
    for node in sorted({*counted, *stored, *(n for c in signed for n in c.heads)}):
        expected = {seq: (mac, c.number) for c in signed for n, (seq, mac) in c.heads.items() if n == node and seq}
        walk = _Walk(store, keys.ledger, node, expected, known)
        fault = walk.to(*counted.get(node, (0, b"")), stored.get(node, (1, 0)))
        chains[node], told = walk.seq, told + walk.told
        faults += [fault] if fault else []
    newest = max((c.at for c in signed), default=None)
    return Checked(sum(chains.values()), chains, len(signed), newest, tuple(faults), told)


def _signed(anchors: Sequence[Path], key: Ed25519PublicKey) -> tuple[list[Checkpoint], list[Fault]]:
    found: list[Checkpoint] = []
    faults: list[Fault] = []
    for path in anchors:
        for told in checkpoints(path, key):
            if isinstance(told, str):
                faults.append(Fault(str(path), None, told))
            else:
                found.append(told)
    return found, faults


def _stored(store: Store) -> dict[str, tuple[int, int]]:
    """The first and the last row of every chain, asked of the index: a count of all rows would take as long as there are rows."""
    found: dict[str, tuple[int, int]] = {}
    node = ""
    while True:
        with store.read() as tx:
            node = tx.run(select(func.min(records.c.node)).where(records.c.node > node)).scalar()
            if node is None:
                return found
            first, last = tx.run(select(func.min(records.c.seq), func.max(records.c.seq)).where(records.c.node == node)).one()
        found[node] = (int(first), int(last))


class _Walk:
    """One chain, row after row."""

    def __init__(self, store: Store, key: bytes, node: str, expected: dict[int, tuple[str, int]], known: set[str] | None) -> None:
        self.store, self.key, self.node, self.expected, self.known = store, key, node, expected, known
        self.seq, self.mac, self.told = 0, genesis(key, node), 0

    def to(self, counted: int, mac: bytes, stored: tuple[int, int]) -> Fault | None:
        """Walk to the end of the chain, or to the first row that is wrong."""
        if stored[0] < 1:
            return Fault(self.node, stored[0], "was put in: rows count from 1")
        return self._rows(counted) or self._ending(counted, mac, stored[1])

    def _rows(self, last: int) -> Fault | None:
        while self.seq < last:
            before = self.seq
            for row in self._next(last):
                wrong = self._wrong(row)
                if wrong:
                    return Fault(self.node, self.seq + 1, wrong)
                self.seq, self.mac, self.told = int(row.seq), bytes(row.mac), self.told + (row.kind == CHECKPOINT)
            if self.seq == before:
                return Fault(self.node, self.seq + 1, self._missing(last))
        return None

    def _ending(self, counted: int, mac: bytes, stored: int) -> Fault | None:
        signed = max(self.expected, default=0)
        if signed > self.seq:
            return Fault(self.node, self.seq + 1, f"is missing: checkpoint {self.expected[signed][1]} signed {signed} rows")
        if stored > counted:
            return Fault(self.node, counted + 1, "was put in, or the database's count of rows was changed")
        if counted and self.mac != mac:
            return Fault(self.node, counted, "is not the one that the database names as the last")
        return None

    def _next(self, last: int) -> Iterator[Any]:
        query = select(records).where(records.c.node == self.node, records.c.seq > self.seq, records.c.seq <= last)
        with self.store.read() as tx:
            yield from tx.run(query.order_by(records.c.seq).limit(AT_ONCE)).all()

    def _wrong(self, row: Any) -> str:
        if row.seq != self.seq + 1:
            return self._missing(int(row.seq))
        mac = code(self.key, self.mac, self.node, int(row.seq), row.at, row.kind, row.body)
        if not hmac.compare_digest(mac, bytes(row.mac)):
            return "was changed, or is not the one that was written here"
        was, number = self.expected.get(int(row.seq), ("", 0))
        if number and was != mac.hex():
            return f"is not the one that checkpoint {number} signed: the chain was written anew"
        if self.known is not None and row.kind == CHECKPOINT and json.loads(row.body)["digest"] not in self.known:
            return f"tells of checkpoint {json.loads(row.body)['number']}, which is in no file of checkpoints that was given"
        return ""

    def _missing(self, after: int) -> str:
        signed = max(self.expected, default=0)
        told = f"; checkpoint {self.expected[signed][1]} signed {signed} rows" if signed > self.seq else ""
        return f"is missing; the chain goes on to row {after}{told}"
