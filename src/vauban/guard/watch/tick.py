"""One tick of the monitors: what was decided since is counted, once, whoever ticks; what crosses an alarm line is told.

The work is done outside of any lock. At the end one row says whether somebody else ticked meanwhile; then this tick is thrown away.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vauban.guard.alerts import Alert
from vauban.guard.storage import Store, Transaction
from vauban.guard.watch.monitors import Monitor, Standing, counted, followed
from vauban.guard.watch.tables import clusters, inbox, monitors

BATCH = 500
"""Attempts that one tick counts at most."""
TURN = "turn"
"""The row that says how many ticks there were."""
INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def tick(store: Store, followers: Sequence[Monitor], alarm: float, alert: Alert) -> int:
    """Count what was newly decided; how many attempts that were. 0 too if another process did so at the same time.

    Args:
        followers: the monitors.
        alarm: evidence from which on a cluster is in alarm.

    Raises:
        GuardDown: the database; nothing is lost, the next tick counts it.
    """
    with store.read() as tx:
        turn, states = _standing(tx)
        rows = tx.run(select(inbox).order_by(inbox.c.id).limit(BATCH)).all()
        risen = tx.run(select(clusters).where(clusters.c.log_e >= math.log(alarm), clusters.c.alarmed.is_(False)).limit(BATCH)).all()
    if not rows and not risen:
        return 0
    came = [(r.at, json.loads(r.told)) for r in rows]
    news = {m.name: found for m in followers if (found := followed(m, states.get(m.name), came)) is not None}
    histograms = {name: counted(states.get(name), scores) for name, scores in _scores(came).items()}
    with store.write() as tx:
        if not _mine(tx, turn):
            return 0
        at = max((at for at, _ in came), default=tx.now())
        for name, found in news.items():
            _put(tx, name, at, found.log_e, found.state)
        for name, counts in histograms.items():
            _put(tx, name, at, 0.0, counts)
        tx.run(delete(inbox).where(inbox.c.id.in_([r.id for r in rows])))
        _alert(tx, followers, news, alert)
        for cluster in risen:
            alert(tx, f"cluster:{cluster.id}", "critical", told_of(cluster))
            tx.run(update(clusters).where(clusters.c.id == cluster.id).values(alarmed=True))
    return len(rows)


def told_of(cluster: Any) -> dict[str, Any]:
    """A cluster as evidence: numbers only."""
    numbers = ("size", "identities", "accepted", "first", "last", "log_e")
    return {"cluster": cluster.id} | {name: getattr(cluster, name) for name in numbers}


def _standing(tx: Transaction) -> tuple[int, dict[str, Any]]:
    found = {r.name: r for r in tx.run(select(monitors)).all()}
    turn = found.pop(TURN, None)
    return (turn.version if turn else 0), {name: json.loads(r.state) for name, r in found.items()}


def _mine(tx: Transaction, turn: int) -> bool:
    """Whether nobody ticked since; if so, nobody else can until this transaction ends."""
    if turn == 0:
        first = INSERTS[tx.connection.dialect.name](monitors).values(name=TURN, version=0, at=0.0, log_e=0.0, state="{}")
        tx.run(first.on_conflict_do_nothing())
    mine = update(monitors).where(monitors.c.name == TURN, monitors.c.version == turn).values(version=turn + 1)
    return tx.run(mine).rowcount == 1


def _put(tx: Transaction, name: str, at: float, log_e: float, state: Mapping[str, Any]) -> None:
    values = {"version": 1, "at": at, "log_e": log_e, "state": json.dumps(state, separators=(",", ":"))}
    put = INSERTS[tx.connection.dialect.name](monitors).values(name=name, **values)
    tx.run(put.on_conflict_do_update(index_elements=["name"], set_=values))


def _scores(came: Sequence[tuple[float, Mapping[str, Any]]]) -> dict[str, list[tuple[float, int]]]:
    found: dict[str, list[tuple[float, int]]] = {}
    for at, told in came:
        for model, score in told["scores"].items():
            if score is not None:
                found.setdefault(f"histogram:{model}", []).append((at, score))
    return found


def _alert(tx: Transaction, followers: Sequence[Monitor], news: Mapping[str, Standing], alert: Alert) -> None:
    for monitor in followers:
        if monitor.name not in news:
            continue
        standing = news[monitor.name]
        for log_e, at in standing.alarms:
            so_far = {name: standing.state[name] for name in ("seen", "sum")}
            alert(
                tx, monitor.name, monitor.severity, {"log_e": round(log_e, 2), "line": round(math.log(monitor.line), 2), "at": at, **so_far}
            )
