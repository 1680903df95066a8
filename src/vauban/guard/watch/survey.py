"""A survey of clusters and networks that ask much: do their queries look made by a rule, and where do they lie? That is what extraction shows in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import func, select

from vauban.guard.storage import Store, Transaction
from vauban.guard.watch.calibration import Cells
from vauban.guard.watch.detect import RateDetector, mean_log
from vauban.guard.watch.prada import LEAST, Normality, prada
from vauban.guard.watch.tables import clusters, prints, streams
from vauban.guard.watch.thumbnail import SIZE, Floats
from vauban.guard.watch.tick import INSERTS, Alert

LONGEST = 2000
"""The latest queries of a stream that are looked at."""
FRESH = 25
"""New queries after which a stream is looked at again."""
LATEST = 1000
"""Attempts whose networks are looked at."""
AT_ONCE = 8
"""Streams that one survey looks at."""
LINE = 1e6


@dataclass(frozen=True)
class Coverage:
    """Where the queries of a stream lie among the owner's images.

    Attributes:
        cells: cells that they visit.
        expected: how many as many of the owner's images would visit on the average.
        outside: queries that are like none of them, of those that are new.
        log_e: the evidence that this is more than the owner's images are.
        logs: the sums of the detector.
    """

    cells: int
    expected: float
    outside: int
    log_e: float
    logs: tuple[float, ...]


def survey(store: Store, cells: Cells | None, alert: Alert) -> int:
    """Look at the streams that have grown; how many those are.

    Args:
        cells: where the owner's images lie, as calibrated.

    Raises:
        GuardDown: the database.
    """
    with store.read() as tx:
        due = _due(tx)
        rows = [_members(tx, kind, key) for kind, key, _ in due]
    looked = 0
    for (kind, key, known), members in zip(due, rows, strict=True):
        vectors, answers = _vectors(members), np.array([r.accept for r in members], bool)
        found = prada(vectors, answers)
        new = np.array([r.id > (known.upto if known else 0) for r in members], bool)
        coverage = None if cells is None else covered(cells, vectors, new, json.loads(known.state) if known else [])
        with store.write() as tx:
            _put(tx, kind, key, members, found, coverage, known)
            _tell(tx, kind, key, found, coverage, alert)
        looked += 1
    return looked


def covered(cells: Cells, vectors: Floats, new: npt.NDArray[np.bool_], logs: Sequence[float]) -> Coverage:
    """Where queries lie.

    Args:
        vectors: float32 (n, 192) of length one.
        new: bool (n,): which were not counted yet.
        logs: the detector's sums so far; empty at the beginning.
    """
    centres = cells.centres.astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = vectors @ centres.T
    outside = 1 - cosines.max(1) > cells.bar
    expected = float((1 - (1 - cells.shares) ** len(vectors)).sum())
    detector = RateDetector.above(cells.outside)
    standing, top = list(logs) or detector.start, -math.inf
    for value in outside[new]:
        standing = detector.after(standing, bool(value))
        top = max(top, mean_log(standing))
    log_e = max(top, mean_log(standing))
    return Coverage(np.unique(cosines.argmax(1)[~outside]).size, expected, int(outside[new].sum()), log_e, tuple(standing))


def _due(tx: Transaction) -> list[tuple[str, str, Any]]:
    """Streams of more than 100 queries that have 25 new ones: (kind, key, what is stored of it)."""
    known = {(r.kind, r.key): r for r in tx.run(select(streams)).all()}
    sizes = [(r.size, "cluster", str(r.id)) for r in tx.run(select(clusters.c.id, clusters.c.size).where(clusters.c.size > LEAST)).all()]
    recent = select(prints.c.network).order_by(prints.c.id.desc()).limit(LATEST).subquery()
    for network in tx.run(select(recent.c.network).distinct()).scalars().all():
        mine = select(prints.c.id).where(prints.c.network == network).limit(LONGEST).subquery()
        sizes.append((tx.run(select(func.count()).select_from(mine)).scalar_one(), "network", network))
    found = [(kind, key, known.get((kind, key))) for size, kind, key in sorted(sizes, reverse=True) if size > LEAST]
    return [(kind, key, old) for kind, key, old in found if old is None or _newer(tx, kind, key, old.upto) >= FRESH][:AT_ONCE]


def _of(kind: str, key: str) -> Any:
    return prints.c.cluster == int(key) if kind == "cluster" else prints.c.network == key


def _newer(tx: Transaction, kind: str, key: str, upto: int) -> int:
    newer = select(prints.c.id).where(_of(kind, key), prints.c.id > upto).limit(FRESH).subquery()
    return int(tx.run(select(func.count()).select_from(newer)).scalar_one())


def _members(tx: Transaction, kind: str, key: str) -> list[Any]:
    """The latest prints of a stream, in their order."""
    wanted = select(prints.c.id, prints.c.thumb, prints.c.accept, prints.c.at).where(_of(kind, key))
    return tx.run(wanted.order_by(prints.c.id.desc()).limit(LONGEST)).all()[::-1]


def _vectors(members: Sequence[Any]) -> Floats:
    """Thumbnails as unit vectors, float32 (n, 192)."""
    kept = np.frombuffer(b"".join(r.thumb for r in members), np.int8).reshape(-1, SIZE).astype(np.float32)
    length = np.linalg.norm(kept, axis=1, keepdims=True)
    return (kept / np.where(length > 0, length, 1)).astype(np.float32)


def _put(tx: Transaction, kind: str, key: str, members: Sequence[Any], found: Normality, coverage: Coverage | None, known: Any) -> None:
    before = (known.upto, known.queries, known.outside or 0) if known else (0, 0, 0)
    values: dict[str, Any] = {"at": members[-1].at, "upto": members[-1].id, "normality": found.w, "distances": found.distances}
    values |= {"queries": before[1] + sum(r.id > before[0] for r in members), "log_e": 0.0, "state": "[]"}
    if coverage is not None:
        logs = json.dumps(coverage.logs) if coverage.log_e < math.log(LINE) else "[]"
        values |= {"cells": coverage.cells, "expected": coverage.expected, "outside": before[2] + coverage.outside}
        values |= {"log_e": coverage.log_e, "state": logs}
    put = INSERTS[tx.connection.dialect.name](streams).values(kind=kind, key=key, **values)
    tx.run(put.on_conflict_do_update(index_elements=["kind", "key"], set_=values))


def _tell(tx: Transaction, kind: str, key: str, found: Normality, coverage: Coverage | None, alert: Alert) -> None:
    """Extraction that shows in distances warns; evidence with a promise is critical."""
    if found.alarm:
        alert(tx, f"prada:{kind}:{key}", "warning", {"w": found.w, "distances": found.distances})
    if coverage is not None and coverage.log_e >= math.log(LINE):
        evidence = {"log_e": round(coverage.log_e, 2), "cells": coverage.cells, "expected": round(coverage.expected, 1)}
        alert(tx, f"outside:{kind}:{key}", "critical", {**evidence, "outside": coverage.outside})
