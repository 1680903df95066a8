"""The table of rows of one chunk: one line for each input and attack, in Parquet, for people who want to look closer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vauban.campaign.run.besiege import Fought, Turn
from vauban.campaign.run.chunk import Chunk, Fate, Try

Line = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("label", pa.int64()),
        ("clean_answer", pa.int64()),
        ("eligible", pa.bool_()),
        ("attacked", pa.bool_()),
        ("attack", pa.string()),
        ("tried", pa.bool_()),
        ("broken", pa.bool_()),
        ("distance", pa.float64()),
        ("queries", pa.int64()),
        ("gradients", pa.int64()),
        ("first", pa.int64()),
        ("seconds", pa.float64()),
    ]
)
"""`tried`: the row was still standing when the attack began. `broken`: this attack broke it, verified. `distance`: of the nearest example
known after the attack, null where none is. `queries`, `gradients`: what the attack was charged on the row. `first`: which of its questions
won, null where none did. `seconds`: the attack's time, shared equally among the rows it ran on. A row that cannot be attacked has one line
with no attack."""


def table(fought: Fought, labels: Sequence[int], answers: Sequence[int]) -> bytes:
    """The table of a chunk as a Parquet file; labels and clean answers are those of all its rows, in order."""
    lines: list[Line] = []
    order = {place: i for i, place in enumerate(fought.places.tolist())}
    for place, (fate, label, answer) in enumerate(zip(fought.chunk.fates, labels, answers, strict=True)):
        head = {"row": fate.row, "label": label, "clean_answer": answer, "eligible": fate.eligible, "attacked": fate.attacked}
        inside = order.get(place)
        lines += [head | line for line in ([_erring(fate)] if inside is None else _lines(fought.chunk, fought.turns, fate, inside))]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=SCHEMA), out)
    return out.getvalue()


def _erring(fate: Fate) -> Line:
    return {"attack": "", "tried": False, "broken": fate.broken, "distance": fate.distance, "queries": 0, "gradients": 0, "seconds": 0.0}


def _lines(chunk: Chunk, turns: Sequence[Turn], fate: Fate, i: int) -> list[Line]:
    """The lines of one attacked row, the `i`-th that the oracle had."""
    lines: list[Line] = []
    queries, gradients, standing = 0, 0, True
    for place, (turn, try_) in enumerate(zip(turns, chunk.tries, strict=False)):
        asked, taken, distance = int(turn.queries[i]) - queries, int(turn.gradients[i]) - gradients, float(turn.distance[i])
        queries, gradients = queries + asked, gradients + taken
        won = fate.by == place
        lines.append(
            {
                "attack": try_.label,
                "tried": standing,
                "broken": won,
                "distance": distance if np.isfinite(distance) else None,
                "queries": asked,
                "gradients": taken,
                "first": fate.won if won else None,
                "seconds": _share(try_, ran=asked > 0 or standing),
            }
        )
        standing = standing and not bool(turn.broken[i])
    return lines


def _share(try_: Try, *, ran: bool) -> float:
    return try_.seconds / try_.ran if ran and try_.ran else 0.0
