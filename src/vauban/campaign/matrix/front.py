"""Which defences no other one beats, and what to make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vauban.campaign.matrix.result import Line, Matrix
from vauban.measure import mcnemar

GIVEN_UP = 0.02
"""Clean accuracy that a defence may cost and still be recommended before all that cost more."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Advice:
    """What a matrix comes to.

    Attributes:
        front: labels of the lines that none beats: no other is at least as good in clean accuracy, worst robust accuracy and inference cost, and
            better in one of them.
        best: the line of the front to take, or empty where none withstands significantly more than the undefended target.
        text: the same in sentences.
    """

    front: tuple[str, ...]
    best: str
    text: str


def advice(matrix: Matrix) -> Advice:
    """The Pareto front of a matrix and the line to take from it."""
    lines = matrix.measured
    if not lines:
        return Advice((), "", "Nothing was measured.")
    front = pareto(lines)
    bare, names = lines[0], tuple(line.label for line in front)
    better = [line for line in front if line is not bare and significantly(line, bare)]
    cheap = [line for line in better if line.clean.value >= bare.clean.value - GIVEN_UP]
    pick = max(cheap or better, key=lambda line: (line.worst, line.clean.value, -line.inference), default=None)
    return Advice(names, "" if pick is None else pick.label, _told(names, bare, pick, bool(cheap)))


def pareto(lines: Sequence[Line]) -> list[Line]:
    """The lines that no other one beats in clean accuracy, worst robust accuracy and inference cost together."""
    return [line for line in lines if not any(_beats(other, line) for other in lines)]


def _beats(one: Line, other: Line) -> bool:
    mine, yours = ((line.clean.value, line.worst, -_grade(line.inference)) for line in (one, other))
    return all(a >= b for a, b in zip(mine, yours, strict=True)) and mine != yours


def _grade(inference: float) -> int:
    """Costs that differ by less than a quarter are one: a busy machine's clock tells no more."""
    return round(math.log(max(inference, 1.0), 1.25))


def significantly(line: Line, bare: Line) -> bool:
    """Whether more rows stood than without defence under some threat and fewer under none, by exact McNemar tests on the same rows."""
    known = {s.threat: s for s in bare.stands}
    gains: list[bool] = []
    for stand in line.stands:
        before = known[stand.threat]
        if len(before.held) != len(stand.held):  # another denominator: the intervals must part
            if stand.robust.interval[1] < before.robust.interval[0]:
                return False
            gains.append(stand.robust.interval[0] > before.robust.interval[1])
            continue
        up = sum(b and not a for a, b in zip(before.held, stand.held, strict=True))
        down = sum(a and not b for a, b in zip(before.held, stand.held, strict=True))
        sure = mcnemar(up, down) < LEVEL
        if sure and down > up:
            return False
        gains.append(sure and up > down)
    return any(gains)


def _told(front: tuple[str, ...], bare: Line, pick: Line | None, kept: bool) -> str:
    named = f"No other line beats {_listed(front)}: not in clean accuracy, robust accuracy and cost of an answer together."
    if pick is None:
        return f"{named} No defence of it withstands significantly more than {bare.label} does."
    clean = f"{pick.clean.value:.1%} clean accuracy against {bare.clean.value:.1%}"
    robust = f"{pick.worst:.1%} robust accuracy against {bare.worst:.1%} under the threat it stands worst"
    cost = f"answers at {pick.inference:.1f} times the cost" + (f", training at {pick.training:.1f} times" if pick.training else "")
    dear = "" if kept else f" It gives up more than {GIVEN_UP:.0%} of clean accuracy; none of the others that help does not."
    doubted = sorted({d.name for s in pick.stands for d in s.doubts})
    doubt = f" Its numbers are in doubt: {', '.join(doubted)}." if doubted else ""
    return f"{named} Of these take {pick.label}: {clean}, {robust}; {cost}.{dear}{doubt}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
