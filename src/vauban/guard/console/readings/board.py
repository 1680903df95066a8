"""Alerts and what became of telling them; the chains of the ledger and what stands in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import case, func, select

from vauban.guard.alerts.tables import OPEN, alerts, deliveries
from vauban.guard.config.model import Webhook
from vauban.guard.ledger.chain import ACTS, CHECKPOINT, heads, records
from vauban.guard.storage import Store

PAGE = 50


@dataclass(frozen=True)
class Raised:
    """One alert.

    Attributes:
        evidence, latest: what showed it first and last.
    """

    id: int
    monitor: str
    severity: str
    opened: float
    seen: float
    count: int
    evidence: dict[str, Any]
    latest: dict[str, Any]
    closed: float | None
    closed_by: str | None
    note: str | None


@dataclass(frozen=True)
class Told:
    """One webhook.

    Attributes:
        host: where it goes; the rest of its URL may be a secret.
        done, waiting, lost: messages.
        error: the latest that went wrong.
    """

    host: str
    done: int
    waiting: int
    lost: int
    error: str


@dataclass(frozen=True)
class Row:
    """One row of the ledger.

    Attributes:
        body: what happened.
    """

    node: str
    seq: int
    at: float
    kind: str
    body: dict[str, Any]

    @property
    def shown(self) -> dict[str, Any]:
        """What a page tells of it: not what models said of one attempt, which nobody needs and an insider could learn from."""
        return {name: value for name, value in self.body.items() if name not in ("scores", "votes")}


@dataclass(frozen=True)
class Chains:
    """The ledger.

    Attributes:
        chains: rows of each.
        signed: when the last checkpoint was signed.
        acts: the latest rows that are no decisions and no checkpoints.
    """

    chains: tuple[tuple[str, int], ...]
    signed: float | None
    acts: tuple[Row, ...]

    @property
    def rows(self) -> int:
        """Of all chains."""
        return sum(rows for _, rows in self.chains)


def alerts_of(store: Store, most: int = PAGE) -> tuple[tuple[Raised, ...], tuple[Raised, ...]]:
    """Open alerts, the most severe first, and the latest that were put away.

    Raises:
        GuardDown: the database does not answer.
    """
    rank = case((alerts.c.severity == "critical", 0), (alerts.c.severity == "warning", 1), else_=2)
    with store.read() as tx:
        held = tx.run(select(alerts).where(OPEN).order_by(rank, alerts.c.seen.desc()).limit(200)).all()
        gone = tx.run(select(alerts).where(alerts.c.closed.is_not(None)).order_by(alerts.c.closed.desc()).limit(most)).all()
    return tuple(map(_raised, held)), tuple(map(_raised, gone))


def told_of(store: Store, webhooks: Sequence[Webhook]) -> tuple[Told, ...]:
    """How telling goes, for each webhook of the configuration.

    Raises:
        GuardDown: the database does not answer.
    """
    found: list[Told] = []
    with store.read() as tx:
        for hook in webhooks:
            mine = deliveries.c.webhook == sha256(hook.url.encode()).hexdigest()[:16]
            states = {"done": deliveries.c.done.is_not(None), "waiting": deliveries.c.next.is_not(None)}
            counts = {name: int(tx.run(select(func.count()).where(mine, state)).scalar_one()) for name, state in states.items()}
            every = int(tx.run(select(func.count()).where(mine)).scalar_one())
            error = tx.run(
                select(deliveries.c.error).where(mine, deliveries.c.error.is_not(None)).order_by(deliveries.c.outbox.desc()).limit(1)
            )
            found.append(Told(str(urlsplit(hook.url).hostname), **counts, lost=every - sum(counts.values()), error=error.scalar() or ""))
    return tuple(found)


def chains_of(store: Store, most: int = PAGE) -> Chains:
    """The chains, and what people did lately.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        chains = tuple((str(node), int(seq)) for node, seq in tx.run(select(heads.c.node, heads.c.seq).order_by(heads.c.node)))
        signed = tx.run(select(func.max(records.c.at)).where(ACTS, records.c.kind == CHECKPOINT)).scalar()
        acts = tx.run(select(records).where(ACTS, records.c.kind != CHECKPOINT).order_by(records.c.at.desc()).limit(most)).all()
    return Chains(chains, signed, tuple(map(_row, acts)))


def rows_of(store: Store, node: str, upto: int, most: int = PAGE) -> tuple[Row, ...]:
    """Rows of a chain, from `upto` backwards.

    Raises:
        GuardDown: the database does not answer.
    """
    query = select(records).where(records.c.node == node, records.c.seq <= upto).order_by(records.c.seq.desc()).limit(most)
    with store.read() as tx:
        return tuple(map(_row, tx.run(query).all()))


def _raised(row: Any) -> Raised:
    told = {"evidence": json.loads(row.evidence), "latest": json.loads(row.latest)}
    return Raised(
        row.id,
        row.monitor,
        row.severity,
        row.opened,
        row.seen,
        row.count,
        closed=row.closed,
        closed_by=row.closed_by,
        note=row.note,
        **told,
    )


def _row(row: Any) -> Row:
    return Row(row.node, int(row.seq), row.at, row.kind, json.loads(row.body))
