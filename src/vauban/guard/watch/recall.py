"""What an image is like among those of the last days: found by marks, then compared in full."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import BigInteger, ColumnElement, Select, Text, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from vauban.guard.storage import Prepared, Transaction
from vauban.guard.watch.sketch import likeness
from vauban.guard.watch.tables import clusters, digests, marks, prints
from vauban.guard.watch.thumbnail import SIZE, bands, nearest, stored
from vauban.guard.watch.values import Claimant, Seen

MARKED = 12
"""Hashes of a sketch by which it is found: two that share half of 50 share none of the smallest 12 once in 4,000 times."""
CANDIDATES = 96
"""The latest that are compared in full."""
JOINED = 12
"""The nearest that are linked."""
_COLUMNS = (prints.c.id, prints.c.device, prints.c.identity, prints.c.sketch, prints.c.thumb, prints.c.cluster)


def _candidates(wanted: ColumnElement[bool]) -> Select[Any, Any, Any, Any, Any, Any]:
    found = select(marks.c.print).where(wanted).distinct().order_by(marks.c.print.desc()).limit(CANDIDATES)
    return select(*_COLUMNS).where(prints.c.id.in_(found))


_WANTED = bindparam("marks", type_=Text)
_CANDIDATES = {  # ninety marks as one parameter: a list of so many is written out anew for every attempt
    "sqlite": Prepared(_candidates(marks.c.mark.in_(select(func.json_each(_WANTED).table_valued("value").c.value)))),
    "postgresql": Prepared(_candidates(marks.c.mark.in_(select(cast(func.jsonb_array_elements_text(cast(_WANTED, JSONB)), BigInteger))))),
}
_ALARMED = select(clusters.c.id).where(clusters.c.id.in_(bindparam("ids", expanding=True)), clusters.c.log_e >= bindparam("bar")).limit(1)
_VALUES = {"digest": bindparam("digest"), "at": bindparam("at")}
_CLAIMS = {
    "sqlite": Prepared(sqlite.insert(digests).values(_VALUES).on_conflict_do_nothing().returning(digests.c.at)),
    "postgresql": Prepared(postgresql.insert(digests).values(_VALUES).on_conflict_do_nothing().returning(digests.c.at)),
}


@dataclass(frozen=True)
class Found:
    """Near prints.

    Attributes:
        ids: the nearest first.
        stranger: whether one of them is of another identity.
        clusters: those they are in.
    """

    ids: tuple[int, ...]
    stranger: bool
    clusters: tuple[int, ...]


def identity_of(claimant: Claimant) -> str:
    """The account, or the device where no account is known."""
    return claimant.account or claimant.device


def claim(tx: Transaction, digest: str, at: float) -> bool:
    """Whether these pixels are new; from now on they are not. Of two that come at once, one waits for the other."""
    return tx.run(_CLAIMS[tx.connection.dialect.name], {"digest": digest, "at": at}).first() is not None


def marks_of(sketch: npt.NDArray[np.int64], thumbs: npt.NDArray[np.int8]) -> list[int]:
    """By what something with this sketch and these thumbnails, int8 (k, 192), is found; a flat thumbnail has no marks."""
    seen = thumbs[thumbs.any(1)]
    return sorted({*sketch[:MARKED].tolist(), *(bands(seen).ravel().tolist() if len(seen) else ())})


def search(tx: Transaction, seen: Seen, claimant: Claimant, sketch_bar: float, thumb_bar: float) -> Found:
    """The prints that are near-duplicates of what was seen.

    Args:
        sketch_bar: share of hashes from which on two are near.
        thumb_bar: one minus the cosine up to which two are near.
    """
    wanted = marks_of(seen.sketch, stored(seen.probes))
    rows = tx.run(_CANDIDATES[tx.connection.dialect.name], {"marks": json.dumps(wanted)}).all() if wanted else []
    if not rows:
        return Found((), False, ())
    closeness = _closeness(rows, seen, sketch_bar, thumb_bar)
    near = sorted((c, -r.id, r) for c, r in zip(closeness, rows, strict=True) if c <= 1)
    kept = [r for _, _, r in near[:JOINED]]
    stranger = any(_stranger(r, claimant) for _, _, r in near)
    return Found(tuple(r.id for r in kept), stranger, tuple(sorted({r.cluster for r in kept if r.cluster is not None})))


def alarmed(tx: Transaction, found: Sequence[int], bar: float) -> bool:
    """Whether one of some clusters has evidence of at least `bar`."""
    return bool(found) and tx.run(_ALARMED, {"ids": list(found), "bar": math.log(bar)}).first() is not None


def _closeness(rows: Sequence[Any], seen: Seen, sketch_bar: float, thumb_bar: float) -> list[float]:
    """For each row a number: at most one if it is near, the smaller the nearer."""
    thumbs = np.frombuffer(b"".join(r.thumb for r in rows), np.int8).reshape(-1, SIZE)
    far = nearest(seen.probes, thumbs) / thumb_bar
    alike = likeness(seen.sketch, [np.frombuffer(r.sketch, np.int64) for r in rows])
    return np.minimum(far, np.where(alike >= sketch_bar, 1 - alike, np.inf)).tolist()


def _stranger(row: Any, claimant: Claimant) -> bool:
    """Whether a print is of another identity; another attempt of the account or, without accounts, device is a retake."""
    if row.identity == identity_of(claimant):
        return False
    return not (row.device == claimant.device and (not claimant.account or row.identity == row.device))
