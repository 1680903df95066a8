"""What the console shows of the watch: traces of evidence, histograms of scores, clusters, streams. Nothing here names anybody."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from vauban.guard.storage import Transaction
from vauban.guard.watch.calibration import Calibration
from vauban.guard.watch.drift import Drift, drift
from vauban.guard.watch.monitors import monitors_of
from vauban.guard.watch.tables import clusters, monitors, streams


@dataclass(frozen=True)
class Trace:
    """One monitor.

    Attributes:
        name: "close:MODEL", "scores:MODEL", "splits:ENSEMBLE", "rejects-more:ENSEMBLE", "rejects-less:ENSEMBLE", "outside" or "near".
        line: the logarithm at which it alarms.
        log_e: where it stands.
        seen: attempts that it counted.
        rate: the share of them in which it happened; None for a distribution.
        quiet: the bound of that share in quiet times; None for a distribution.
        alarms: how often it alarmed.
        points: (seconds, logarithm), in their order.
    """

    name: str
    line: float
    log_e: float
    seen: int
    rate: float | None
    quiet: float | None
    alarms: int
    points: tuple[tuple[float, float], ...] = field(repr=False)


@dataclass(frozen=True)
class Histogram:
    """The scores of one model, quantised: -127 to 127, 0 at the threshold.

    Attributes:
        counts: 255, of the last days.
        reference: 255, of the calibration; None without one.
        drift: how far the two lie apart, for the eye; None without a reference.
    """

    model: str
    counts: tuple[int, ...] = field(repr=False)
    reference: tuple[int, ...] | None = field(repr=False)
    drift: Drift | None


@dataclass(frozen=True)
class Cluster:
    """Attempts that are linked by near-duplicates.

    Attributes:
        log_e: the logarithm of the evidence that this is no chance.
        alarmed: whether an alert was raised.
    """

    id: int
    size: int
    identities: int
    accepted: int
    first: float
    last: float
    log_e: float
    alarmed: bool


@dataclass(frozen=True)
class Stream:
    """The queries of one cluster or network.

    Attributes:
        kind: "cluster" or "network".
        key: the cluster's number, or the network's keyed hash.
        normality: W of PRADA; below 0.9 the series looks made; None with too few distances.
        cells, expected: places among the owner's images that were visited, and that as many usual ones would visit; None without a calibration.
        log_e: the evidence that the queries are unlike the owner's images.
    """

    kind: str
    key: str
    queries: int
    at: float
    normality: float | None
    cells: int | None
    expected: float | None
    log_e: float


def traces(tx: Transaction, calibration: Calibration | None) -> list[Trace]:
    """All monitors; those that have counted nothing yet too."""
    held = {r.name: r for r in tx.run(select(monitors)).all()}
    return [_trace(m.name, m.line, getattr(m, "quiet", None), held.get(m.name)) for m in monitors_of(calibration)]


def histograms(tx: Transaction, calibration: Calibration | None, days: int = 1) -> list[Histogram]:
    """The scores of the last days, today's among them, of every model that was asked."""
    rows = tx.run(select(monitors).where(monitors.c.name.like("histogram:%")).order_by(monitors.c.name)).all()
    today = int(tx.now() // 86400)
    return [_histogram(r.name.partition(":")[2], json.loads(r.state), calibration, today - days) for r in rows]


def worst_clusters(tx: Transaction, count: int = 50) -> list[Cluster]:
    """The clusters with the most evidence."""
    rows = tx.run(select(clusters).order_by(clusters.c.log_e.desc(), clusters.c.size.desc()).limit(count)).all()
    return [Cluster(r.id, r.size, r.identities, r.accepted, r.first, r.last, r.log_e, bool(r.alarmed)) for r in rows]


def largest_streams(tx: Transaction, count: int = 50) -> list[Stream]:
    """The streams with the most queries."""
    rows = tx.run(select(streams).order_by(streams.c.queries.desc()).limit(count)).all()
    return [Stream(r.kind, r.key, r.queries, r.at, r.normality, r.cells, r.expected, r.log_e) for r in rows]


def _trace(name: str, line: float, quiet: float | None, row: Any) -> Trace:
    if row is None:
        return Trace(name, math.log(line), 0.0, 0, None, quiet, 0, ())
    state = json.loads(row.state)
    rate = state["sum"] / state["seen"] if quiet is not None else None
    points = tuple((float(at), float(log_e)) for at, log_e in state["trace"])
    return Trace(name, math.log(line), row.log_e, state["seen"], rate, quiet, state["alarms"], points)


def _histogram(model: str, state: Mapping[str, Sequence[int]], calibration: Calibration | None, after: int) -> Histogram:
    days = [counts for day, counts in state.items() if int(day) > after]
    counts = tuple(sum(column) for column in zip(*days, strict=True)) if days else (0,) * 255
    known = calibration.models.get(model) if calibration else None
    return Histogram(model, counts, known.counts if known else None, drift(known.counts, counts) if known else None)
