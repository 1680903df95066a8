"""Where the monitors stand, and the clusters of near-duplicates."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from vauban.guard.rotation.roster import every
from vauban.guard.storage import Store
from vauban.guard.watch.calibration import Calibration
from vauban.guard.watch.monitors import LINE, monitors_of
from vauban.guard.watch.tables import clusters, monitors, prints, streams

SAID = {
    "close": "scores close to the threshold of {}",
    "scores": "the distribution of the scores of {}",
    "splits": "models of {} that disagree",
    "rejects-more": "more rejections than usual by {}",
    "rejects-less": "fewer rejections than usual by {}",
    "outside": "images unlike all of the owner's",
    "near": "near-duplicates of other identities",
}
TEN = math.log(10)
DAY = 86400.0


@dataclass(frozen=True)
class Standing:
    """One monitor.

    Attributes:
        name, said: its name, and what it is about.
        log10: the evidence now, as a power of ten.
        line: the power of ten at which it alarms.
        points: (seconds, highest power of ten since the point before).
        recent: the highest power of ten of the last day.
        seen, hits: attempts it counted, and those of them in which it happened; no hits for distributions.
        quiet: the share of hits that is still quiet; None for distributions.
        alarms: how often it alarmed.
    """

    name: str
    said: str
    log10: float
    line: float
    points: tuple[tuple[float, float], ...]
    recent: float
    seen: int
    hits: int | None
    quiet: float | None
    alarms: int

    @property
    def state(self) -> str:
        """Above the line on the last day "bad", above half of it now "poor"; after an alarm a monitor begins anew, so now is not enough."""
        return "bad" if self.recent >= self.line else "poor" if self.log10 >= self.line / 2 else "good"


@dataclass(frozen=True)
class Cluster:
    """Attempts that near-duplicates link.

    Attributes:
        log10: the evidence as a power of ten.
        stream: what its queries look like as a series; None where too few.
    """

    id: int
    size: int
    identities: int
    accepted: int
    first: float
    last: float
    log10: float
    alarmed: bool
    stream: Any = None


@dataclass(frozen=True)
class Member:
    """One attempt of a cluster; keyed hashes."""

    attempt: int
    at: float
    device: str
    identity: str
    accept: bool


def standings(store: Store, calibration: Calibration | None) -> tuple[Standing, ...]:
    """All monitors, the strongest evidence first.

    Raises:
        GuardDown: the database does not answer.
    """
    known = {m.name: m for m in monitors_of(calibration)}
    with store.read() as tx:
        rows, now = tx.run(select(monitors)).all(), tx.now()
        names = {str(e.id): str(e.name) for e in every(tx)}
    found: list[Standing] = []
    for row in rows:
        state = json.loads(row.state)
        if "trace" in state:
            found.append(_standing(row, state, known.get(row.name), names, now - DAY))
    return tuple(sorted(found, key=lambda s: s.recent / s.line, reverse=True))


def _standing(row: Any, state: dict[str, Any], monitor: Any, names: dict[str, str], since: float) -> Standing:
    kind, colon, of = str(row.name).partition(":")
    of = names.get(of, of)
    line = math.log10(monitor.line if monitor else LINE)
    points = tuple((float(at), float(log) / TEN) for at, log in state["trace"])
    said = SAID.get(kind, str(row.name)).format(of)
    recent = max((log for at, log in points if at > since), default=0.0)
    rate = kind != "scores"
    quiet = getattr(monitor, "quiet", None)
    hits = state["sum"] if rate else None
    return Standing(kind + colon + of, said, row.log_e / TEN, line, points, recent, state["seen"], hits, quiet, state["alarms"])


def clusters_of(store: Store, most: int = 50) -> tuple[tuple[Cluster, ...], int]:
    """The clusters with the strongest evidence, and how many there are.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        rows = tx.run(select(clusters).order_by(clusters.c.log_e.desc()).limit(most)).all()
        count = tx.run(select(func.count()).select_from(clusters)).scalar_one()
    return tuple(_cluster(row) for row in rows), int(count)


def cluster_of(store: Store, number: int, most: int = 200) -> tuple[Cluster, tuple[Member, ...]] | None:
    """One cluster with its latest members, or None.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        row = tx.run(select(clusters).where(clusters.c.id == number)).first()
        if row is None:
            return None
        stream = tx.run(select(streams).where(streams.c.kind == "cluster", streams.c.key == str(number))).first()
        query = select(prints).where(prints.c.cluster == number).order_by(prints.c.id.desc()).limit(most)
        members = tuple(Member(int(p.attempt), p.at, p.device, p.identity, bool(p.accept)) for p in tx.run(query))
    return _cluster(row, stream), members


def _cluster(row: Any, stream: Any = None) -> Cluster:
    return Cluster(row.id, row.size, row.identities, row.accepted, row.first, row.last, row.log_e / TEN, bool(row.alarmed), stream)
