"""One comparison: sides that attack the same rows in turns, and the promises that their numbers are held to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Yard, cpu_seconds, yardstick
from benchmarks.referee import Judged, counted, judged
from benchmarks.world import World

LONG = 3.0
"""Runs that take more CPU seconds than this are not repeated."""

Strike = Callable[[], Tensor]
"""Attacks the rows of a world; gives adversarial inputs of the same shape. This is what is timed."""
Ready = Callable[[World], Strike]
"""Puts a library's wrapper around the model of a world, untimed."""


@dataclass(frozen=True)
class Side:
    """A library's way to run an attack. `rows`: it gets only so many rows, where it takes too long for all; times are then scaled up."""

    name: str
    ready: Ready
    rows: int | None = None


@dataclass(frozen=True)
class Row:
    """What one side did in one comparison. Seconds are CPU seconds for all `n` rows; passes are per row.

    `best` is the least of the repeats; `limit` what its passes cost on their own; `overhead` the median of seconds over limit.
    """

    comparison: str
    model: str
    side: str
    n: int
    seconds: float = math.nan
    best: float = math.nan
    limit: float = math.nan
    overhead: float = math.nan
    forwards: float = math.nan
    backwards: float = math.nan
    repeats: int = 0
    drift: float = 0.0
    robust: float | None = None
    success: float | None = None
    median: float | None = None
    illegal: int = 0
    error: str = ""

    def line(self) -> dict[str, Any]:
        """For a line of JSON, which has no word for NaN."""
        return {"kind": "row"} | _finite(asdict(self))


Reading = tuple[float, Yard, Yard]
"""CPU seconds of one run, and the yardstick before and after."""


@dataclass(frozen=True)
class Check:
    """A promise: `measured` must be at most (or, `at_least`, at least) `promised`; inf: for information. None measured: it could not be."""

    comparison: str
    text: str
    measured: float | None
    promised: float = math.inf
    at_least: bool = False

    @property
    def holds(self) -> bool:
        if self.promised == math.inf:
            return True
        if self.measured is None or math.isnan(self.measured):
            return False
        return self.measured >= self.promised if self.at_least else self.measured <= self.promised

    def line(self) -> dict[str, Any]:
        return {"kind": "check"} | _finite(asdict(self)) | {"holds": self.holds}


def finite(value: Any) -> Any:
    """The value, or None where it is a number that JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: finite(v) for k, v in values.items()}


def compare(name: str, w: World, sides: Sequence[Side], *, norm: float, eps: float | None, repeats: int) -> list[Row]:
    """Run every side once with its passes counted and its inputs judged, then `repeats` times in turns with nothing attached."""
    rows = [_counted_run(name, w, side, norm, eps) for side in sides]
    readings: dict[str, list[Reading]] = {side.name: [] for side in sides}
    for _ in range(repeats):
        for side, row in zip(sides, rows, strict=True):
            if not row.error and row.seconds <= LONG:
                part = w.first(side.rows or len(w))
                readings[side.name].append(timed(part, side.ready(part)))
    return [timed_row(row, readings[row.side]) for row in rows]


def timed(w: World, strike: Strike) -> Reading:
    """CPU seconds of one run, and the yardstick before and after it."""
    before = yardstick(w)
    seconds = cpu_seconds(strike)
    return seconds, before, yardstick(w)


def _counted_run(name: str, w: World, side: Side, norm: float, eps: float | None) -> Row:
    part = w.first(side.rows or len(w))
    blank = Row(name, w.name, side.name, len(part))
    results: list[Tensor] = []
    torch.manual_seed(0)
    try:
        strike = side.ready(part)
        before = yardstick(part)
        with counted(w.model, w.bare) as passes:
            seconds = cpu_seconds(lambda: results.append(strike()))
        after = yardstick(part)
        verdict = judged(part, results[0], norm, eps)
    except Exception as error:  # a peer that breaks is a finding, and the others go on
        return replace(blank, error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160])
    n = len(part)
    row = replace(blank, seconds=seconds, forwards=passes.forwards / n, backwards=passes.backwards / n, **_fields(verdict))
    return timed_row(row, [(seconds, before, after)])


def _fields(verdict: Judged) -> dict[str, Any]:
    return {"robust": verdict.robust, "success": verdict.success, "median": verdict.median, "illegal": verdict.illegal}


def timed_row(row: Row, readings: Sequence[Reading]) -> Row:
    """A counted row with the times of its repeats, if there are any."""
    if row.error or not readings:
        return row
    part = row.n
    if not row.forwards:
        raise ValueError(f"{row.comparison}: {row.side} made no pass through the model it was given")
    limits = [before.joined(after).limit(row.forwards * part, row.backwards * part) for _, before, after in readings]
    return replace(
        row,
        seconds=median(s for s, _, _ in readings),
        best=min(s for s, _, _ in readings),
        limit=median(limits),
        overhead=median(s / limit for (s, _, _), limit in zip(readings, limits, strict=True)),
        drift=max((before.drift(after) for _, before, after in readings), key=abs),
        repeats=len(readings),
    )


def find(rows: Sequence[Row], model: str, side: str) -> Row | None:
    """The row of a side, if it ran and did not break."""
    return next((r for r in rows if r.model == model and r.side == side and not r.error and math.isfinite(r.seconds)), None)


def per_row(row: Row | None) -> float:
    """CPU seconds for one input; NaN where the side did not run."""
    return math.nan if row is None else row.seconds / row.n


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b, where both are known."""
    if a is None or b is None or math.isnan(a) or math.isnan(b) or b == 0:
        return None
    return a / b


def fastest(rows: Sequence[Row], model: str, success: float = 0.0) -> float | None:
    """CPU seconds for one input of the fastest other library, of those that succeed often enough."""
    others = [r for r in rows if r.model == model and not r.side.startswith("vauban") and not r.error and (r.success or 0) >= success]
    return min((per_row(r) for r in others if math.isfinite(r.seconds)), default=None)


def median_ratio(a: Row | None, b: Row | None) -> float | None:
    """The median distance of one side over that of another."""
    return ratio(None if a is None else a.median, None if b is None else b.median)


def above_strongest(rows: Sequence[Row], model: str) -> float | None:
    """Our robust accuracy less the lowest that another library reached; positive means that it was stronger."""
    ours = find(rows, model, "vauban")
    others = [r.robust for r in rows if r.model == model and not r.side.startswith("vauban") and r.robust is not None]
    return None if ours is None or ours.robust is None or not others else ours.robust - min(others)
