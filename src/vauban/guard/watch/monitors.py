"""The monitors: which statistics are followed over time, and how each goes on with what was newly decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vauban.guard.alerts import Severity
from vauban.guard.watch.calibration import Calibration, Rate, Scores
from vauban.guard.watch.detect import RateDetector, ShapeDetector, ShapeState, advanced, mean_log

LINE, FAINT = 1e6, 1e5
"""Alarm lines: of what only an attack does, and of what the world may do too."""
TRACE = 240
"""Points of a trace that are kept."""
DAYS = 8
"""Days of which scores are counted."""
State = dict[str, Any]
Told = Mapping[str, Any]


class Monitor(Protocol):
    """One statistic over time."""

    @property
    def name(self) -> str: ...
    @property
    def line(self) -> float: ...
    @property
    def severity(self) -> Severity: ...
    def start(self) -> State: ...
    def value(self, told: Told) -> int | None: ...
    def advance(self, state: State, values: Sequence[int]) -> tuple[State, list[float]]: ...


@dataclass(frozen=True)
class RateMonitor:
    """A share, against what it is in quiet times.

    Attributes:
        name: "close:MODEL" (scores close to the threshold), "rejects-more:ENSEMBLE", "rejects-less:ENSEMBLE", "splits:ENSEMBLE" (models that
            disagree), "outside" (images that are like none of the owner's), "near" (near-duplicates of another identity).
        detector: for it.
        quiet: the bound of the share in quiet times.
    """

    name: str
    detector: RateDetector
    quiet: float
    line: float = LINE
    severity: Severity = "critical"
    band: int = 0

    def start(self) -> State:
        """Where it begins."""
        return {"logs": self.detector.start}

    def value(self, told: Told) -> int | None:
        """Whether it happened in an attempt; None if the attempt says nothing about it."""
        kind, _, of = self.name.partition(":")
        if kind == "close":
            score = told["scores"].get(of)
            return None if score is None else int(abs(score) <= self.band)
        if kind == "outside":
            return None if told["outside"] is None else int(told["outside"])
        if kind == "near":
            return int("near" in told["flags"])
        return None if told["ensemble"] != of else int(_split(told) if kind == "splits" else not told["quorum"])

    def advance(self, state: State, values: Sequence[int]) -> tuple[State, list[float]]:
        """Where it is after some attempts, and the logarithm of the evidence after each."""
        logs, found = list(state["logs"]), list[float]()
        for value in values:
            logs = self.detector.after(logs, bool(value))
            found.append(mean_log(logs))
        return {"logs": logs}, found


@dataclass(frozen=True)
class ShapeMonitor:
    """The distribution of a model's scores, against the reference.

    Attributes:
        name: "scores:MODEL".
        scores: the reference.
    """

    name: str
    scores: Scores = field(repr=False)
    line: float = FAINT
    severity: Severity = "warning"

    @property
    def detector(self) -> ShapeDetector:
        """For it."""
        return ShapeDetector(self.scores.shares, self.scores.low, self.scores.high)

    def start(self) -> State:
        """Where it begins."""
        return vars(ShapeState.start(len(self.scores.shares)))

    def value(self, told: Told) -> int | None:
        """The range of an attempt's score."""
        score = told["scores"].get(self.name.partition(":")[2])
        return None if score is None else self.scores.range_of(score)

    def advance(self, state: State, values: Sequence[int]) -> tuple[State, list[float]]:
        """Where it is after some attempts, and the logarithm of the evidence after each."""
        standing = ShapeState(state["logs"], state["remembered"], list(state["waiting"]))
        found = advanced(self.detector, standing, values)
        return vars(standing), found


def monitors_of(calibration: Calibration | None) -> tuple[Monitor, ...]:
    """All that can be followed with what was measured; without a calibration none, for nothing that is learned in service can be trusted."""
    if calibration is None:
        return ()
    found: list[Monitor] = []
    for name, scores in calibration.models.items():
        found.append(RateMonitor(f"close:{name}", RateDetector.above(scores.close.high), scores.close.high, band=scores.band))
        found.append(ShapeMonitor(f"scores:{name}", scores))
    for name, rate in calibration.splits.items():
        found.append(RateMonitor(f"splits:{name}", RateDetector.above(rate.high), rate.high))
    for name, rate in calibration.rejects.items():
        found += _both(name, rate)
    if calibration.cells:
        high = calibration.cells.outside
        found.append(RateMonitor("outside", RateDetector.above(high), high, severity="warning"))
    if calibration.likeness.history and calibration.likeness.rate < 0.5:
        high = max(calibration.likeness.rate, 1e-3)
        found.append(RateMonitor("near", RateDetector.above(high), high))
    return tuple(found)


def _both(name: str, rate: Rate) -> list[Monitor]:
    more = RateMonitor(f"rejects-more:{name}", RateDetector.above(rate.high), rate.high, FAINT, "warning")
    if rate.low < 0.01:
        return [more]  # a rate that is nearly nothing cannot be seen to fall
    return [more, RateMonitor(f"rejects-less:{name}", RateDetector.below(rate.low), rate.low, FAINT, "warning")]


def _split(told: Told) -> bool:
    """Whether the models disagree: quantised scores have the sign of the vote."""
    return len({score > 0 for score in told["scores"].values() if score is not None}) > 1


@dataclass(frozen=True)
class Standing:
    """Where one monitor is after a batch.

    Attributes:
        state: to be stored: the detector's and, for the console, "seen", "sum", "alarms" and "trace", a list of [seconds, logarithm].
        log_e: the evidence now.
        alarms: for each alarm the logarithm that crossed the line, and when.
    """

    state: State
    log_e: float
    alarms: tuple[tuple[float, float], ...]


def followed(monitor: Monitor, stored: State | None, rows: Sequence[tuple[float, Told]]) -> Standing | None:
    """A monitor after some attempts; None if they say nothing to it. After an alarm it begins anew.

    Args:
        stored: its state, None at the beginning.
        rows: (seconds, what was told of the attempt), in their order.
    """
    pairs = [(at, v) for at, told in rows if (v := monitor.value(told)) is not None]
    if not pairs:
        return None
    kept = stored or {"detector": monitor.start(), "seen": 0, "sum": 0, "alarms": 0, "trace": []}
    detector, line, alarms, top, log_e = kept["detector"], math.log(monitor.line), list[tuple[float, float]](), -math.inf, 0.0
    left = pairs
    while left:
        before = detector
        detector, logs = monitor.advance(before, [v for _, v in left])
        first = next((i for i, v in enumerate(logs) if v >= line), None)
        end = len(left) if first is None else first + 1
        top, log_e = max(top, *logs[:end]), logs[end - 1]
        if first is not None:
            alarms.append((logs[first], left[first][0]))
            detector = monitor.start()
        left = left[end:]
    state = {"detector": detector, "seen": kept["seen"] + len(pairs), "sum": kept["sum"] + sum(v for _, v in pairs)}
    state |= {"alarms": kept["alarms"] + len(alarms), "trace": traced(kept["trace"], pairs[-1][0], top)}
    return Standing(state, log_e, tuple(alarms))


def traced(trace: Sequence[Sequence[float]], at: float, log_e: float) -> list[list[float]]:
    """A trace with one more point; when it is long, the higher of each two older ones is kept."""
    points = [list(p) for p in trace] + [[round(at, 1), round(log_e, 3)]]
    if len(points) <= TRACE:
        return points
    half = TRACE // 2
    return [max(points[i : i + 2], key=lambda p: p[1]) for i in range(0, half, 2)] + points[half:]


def counted(histogram: Mapping[str, Sequence[int]] | None, rows: Sequence[tuple[float, int]]) -> dict[str, list[int]]:
    """Scores by day: 255 counts for each of the last eight days.

    Args:
        histogram: as it was, by the number of the day since 1970.
        rows: (seconds, quantised score).
    """
    found = {day: list(counts) for day, counts in (histogram or {}).items()}
    for at, score in rows:
        found.setdefault(str(int(at // 86400)), [0] * 255)[score + 127] += 1
    return dict(sorted(found.items(), key=lambda pair: int(pair[0]))[-DAYS:])
