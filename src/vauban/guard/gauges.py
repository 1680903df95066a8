"""Where the database stands, as numbers for `/metrics`: the same from whichever process is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from vauban.guard.alerts.tables import OPEN, alerts, deliveries
from vauban.guard.ledger.chain import ACTS, CHECKPOINT, heads, records
from vauban.guard.limits.tables import locks
from vauban.guard.rotation.roster import every, serving
from vauban.guard.rotation.tables import State
from vauban.guard.storage import Store, Transaction
from vauban.guard.watch.tables import clusters, inbox, monitors


@dataclass(frozen=True)
class Gauge:
    """One number, or one per label.

    Attributes:
        name: without spaces.
        help: a sentence.
        label: the name of the label; "" for none.
        values: by label.
    """

    name: str
    help: str
    label: str
    values: Mapping[str, float]


def gauges(store: Store) -> list[Gauge]:
    """All of them, in one reading.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        return [*_alerts(tx), *_ledger(tx), *_watch(tx), *_ensembles(tx)]


def _alerts(tx: Transaction) -> list[Gauge]:
    found = dict.fromkeys(("notice", "warning", "critical"), 0.0)
    found |= {str(s): float(n) for s, n in tx.run(select(alerts.c.severity, func.count()).where(OPEN).group_by(alerts.c.severity))}
    waiting = tx.run(select(func.count()).where(deliveries.c.next.is_not(None))).scalar_one()
    now = tx.now()
    held = tx.run(select(locks.c.until).where(locks.c.released.is_(None), locks.c.until.is_(None) | (locks.c.until > now))).scalars().all()
    blocked = sum(until is None for until in held)
    return [
        Gauge("vauban_alerts_open", "Alerts that nobody has acknowledged.", "severity", found),
        Gauge("vauban_deliveries_waiting", "Messages to webhooks that were not taken yet.", "", {"": float(waiting)}),
        Gauge("vauban_devices_held", "Devices that are locked or blocked.", "kind", {"locked": len(held) - blocked, "blocked": blocked}),
    ]


def _ledger(tx: Transaction) -> list[Gauge]:
    rows = {str(node): float(seq) for node, seq in tx.run(select(heads.c.node, heads.c.seq))}
    newest = tx.run(select(func.max(records.c.at)).where(ACTS, records.c.kind == CHECKPOINT)).scalar()
    age = {} if newest is None else {"": max(0.0, tx.now() - newest)}
    return [
        Gauge("vauban_ledger_rows", "Rows of the ledger.", "chain", rows),
        Gauge("vauban_ledger_checkpoint_age_seconds", "Since the ledger was last signed.", "", age),
    ]


def _watch(tx: Transaction) -> list[Gauge]:
    rows = tx.run(select(monitors.c.name, monitors.c.log_e).where(monitors.c.name.contains(":") | monitors.c.name.in_(("near", "outside"))))
    names = {e.id: e.name for e in every(tx)}
    found = {_named(str(name), names): log_e / math.log(10) for name, log_e in rows if not name.startswith("histogram:")}
    alarmed = tx.run(select(func.count()).where(clusters.c.alarmed)).scalar_one()
    behind = tx.run(select(func.count()).select_from(inbox)).scalar_one()
    return [
        Gauge("vauban_evalue_log10", "Evidence of each monitor; 6 is a million to one.", "monitor", found),
        Gauge("vauban_clusters_in_alarm", "Clusters of near-duplicates in alarm.", "", {"": float(alarmed)}),
        Gauge("vauban_watch_inbox", "Attempts that monitors have not counted yet.", "", {"": float(behind)}),
    ]


def _named(monitor: str, names: Mapping[str, str]) -> str:
    """A monitor of an ensemble, with its name in place of its id."""
    kind, colon, of = monitor.partition(":")
    return kind + colon + names.get(of, of)


def _ensembles(tx: Transaction) -> list[Gauge]:
    now, live = tx.now(), serving(tx, (State.LIVE, State.CANARY))
    age = {e.name: now - e.live_at for e in live if e.live_at is not None}
    return [
        Gauge("vauban_ensemble_age_seconds", "Since an ensemble was first live.", "ensemble", age),
        Gauge("vauban_ensemble_queries", "Questions that an ensemble has answered.", "ensemble", {e.name: float(e.queries) for e in live}),
    ]
