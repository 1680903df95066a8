"""Clusters of near-duplicates: joined in SQL as they are found, the smaller into the larger, so that each print is relabelled few times."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, case, delete, distinct, func, insert, select, text, update

from vauban.guard.storage import Transaction
from vauban.guard.watch.evidence import Evidence, read_evidence
from vauban.guard.watch.tables import clusters, prints

LOCK = text("SELECT pg_advisory_xact_lock(7283001)")
"""Whoever joins clusters does so alone; on SQLite every writer does."""
_NEIGHBOURS = select(prints.c.id, prints.c.cluster, prints.c.identity, prints.c.at, prints.c.accept).where(
    prints.c.id.in_(bindparam("near", expanding=True))
)
_HELD = select(clusters).where(clusters.c.id.in_(bindparam("known", expanding=True))).order_by(clusters.c.size.desc(), clusters.c.id)
_MEMBER = select(prints.c.id).where(prints.c.cluster == bindparam("of"), prints.c.identity == bindparam("who")).limit(1)
_MOVE = update(prints).where(prints.c.id.in_(bindparam("members", expanding=True))).values(cluster=bindparam("home"))
_COUNT = update(clusters).where(clusters.c.id == bindparam("of"))


def link(tx: Transaction, new: Any, near: Collection[int], chance: float) -> int | None:
    """Join a print that was just written with those it is near to; the cluster they are in now, or None if these are gone.

    Args:
        new: its row: id, identity, at, accept.
        near: ids of prints.
        chance: that two unrelated captures look alike.
    """
    if tx.connection.dialect.name == "postgresql":
        tx.run(LOCK)
    rows = tx.run(_NEIGHBOURS, {"near": list(near)}).all()
    if not rows:
        return None
    singles = [r for r in rows if r.cluster is None]
    known = sorted({r.cluster for r in rows if r.cluster is not None})
    held = tx.run(_HELD, {"known": known}).all() if known else []
    parts = [Evidence.seed(r.id).after(new.id, chance, hit=r.identity != new.identity) for r in singles]
    fresh = [_fresh(tx, c.id, new.identity) for c in held]
    parts += [read_evidence(c.evidence, c.size, c.upto).after(new.id, chance, hit=f) for c, f in zip(held, fresh, strict=True)]
    joined = Evidence.joined(parts, new.id)
    home = held[0].id if held else _made(tx, new.at)
    for other in held[1:]:
        tx.run(update(prints).where(prints.c.cluster == other.id).values(cluster=home))
        tx.run(delete(clusters).where(clusters.c.id == other.id))
    tx.run(_MOVE, {"members": [new.id, *(r.id for r in singles)], "home": home})
    only = len(held) == 1 and not singles
    identities = held[0].identities + fresh[0] if only else _identities(tx, home)
    _counted(tx, home, joined, new, singles, held, identities)
    return home


def _fresh(tx: Transaction, cluster: int, identity: str) -> bool:
    """Whether no member of a cluster is of this identity; one counts once, however often it comes."""
    return tx.run(_MEMBER, {"of": cluster, "who": identity}).first() is None


def _made(tx: Transaction, at: float) -> int:
    empty = {
        "size": 0,
        "identities": 0,
        "accepted": 0,
        "first": at,
        "last": at,
        "upto": 0,
        "evidence": "[]",
        "log_e": 0.0,
        "alarmed": False,
    }
    return int(tx.run(insert(clusters).values(**empty)).inserted_primary_key[0])


def _identities(tx: Transaction, cluster: int) -> int:
    return int(tx.run(select(func.count(distinct(prints.c.identity))).where(prints.c.cluster == cluster)).scalar_one())


def _counted(tx: Transaction, home: int, joined: Evidence, new: Any, singles: list[Any], held: list[Any], identities: int) -> None:
    values = {
        "size": joined.size,
        "identities": identities,
        "accepted": sum(c.accepted for c in held) + sum(bool(r.accept) for r in (*singles, new)),
        "first": min([new.at, *(r.at for r in singles), *(c.first for c in held)]),
        "last": new.at,
        "upto": joined.upto,
        "evidence": joined.written(),
        "log_e": joined.log_e,
        "alarmed": any(c.alarmed for c in held),
    }
    tx.run(_COUNT, {"of": home, **values})


def shrink(tx: Transaction, gone: Collection[Any]) -> None:
    """Take expired prints off the clusters they were in; a cluster without members is no more.

    Args:
        gone: rows with `cluster` and `accept`, already deleted.
    """
    for cluster in sorted({r.cluster for r in gone if r.cluster is not None}):
        mine = [r for r in gone if r.cluster == cluster]
        left = func.count(distinct(prints.c.identity))
        oldest, identities = tx.run(select(func.min(prints.c.at), left).where(prints.c.cluster == cluster)).one()
        if oldest is None:
            tx.run(delete(clusters).where(clusters.c.id == cluster))
            continue
        fewer = clusters.c.accepted - sum(bool(r.accept) for r in mine)
        values = {
            "size": clusters.c.size - len(mine),
            "identities": identities,
            "first": oldest,
            "accepted": case((fewer > 0, fewer), else_=0),
        }
        tx.run(update(clusters).where(clusters.c.id == cluster).values(**values))
