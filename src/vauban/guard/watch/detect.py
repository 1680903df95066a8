"""Detectors of a change, whose false alarms are counted beforehand: at an alarm line A they come once in A attempts at most, however one looks.

Each holds sums M of Shiryaev and Roberts: M <- (M + 1) L, where the bet L is expected to be at most 1 in quiet times, whatever came before. So the
expected M after t attempts is at most t, and the first time that it reaches A takes A attempts or more on the average (Shin, Ramdas and Rinaldo
2023, arXiv:2203.03532, theorem 2.4). Nothing here learns what is quiet: that is measured once and frozen, so that nobody can teach it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY = -1e9
"""The logarithm of no evidence, as it can be written in JSON."""
STEPS = (0.01, 0.02, 0.05, 0.10)
"""By how much a rate changes: the alternatives, weighed alike."""


def mean_log(logs: Sequence[float]) -> float:
    """The logarithm of the mean of numbers that are given as logarithms.

    >>> round(mean_log([0.0, math.log(3)]), 6) == round(math.log(2), 6)
    True
    """
    top = max(logs)
    return top + math.log(sum(math.exp(v - top) for v in logs) / len(logs))


def grown(log: float) -> float:
    """The logarithm of M + 1 from that of M."""
    return log + math.log1p(math.exp(-log)) if log > 0 else math.log1p(math.exp(log))


@dataclass(frozen=True)
class RateDetector:
    """Whether something that happens or not began to happen more often than `high`, or more seldom than `low`.

    Attributes:
        bets: for each alternative what the logarithm gains when it happens, and when it does not.
    """

    bets: tuple[tuple[float, float], ...]

    @classmethod
    def above(cls, high: float) -> RateDetector:
        """For a rate that is at most `high`, in (0, 1), in quiet times."""
        return cls(tuple(_bet(high, min(high + s, (1 + high) / 2)) for s in STEPS))

    @classmethod
    def below(cls, low: float) -> RateDetector:
        """For a rate that is at least `low`, in (0, 1), in quiet times."""
        return cls(tuple(_bet(low, max(low - s, low / 2)) for s in STEPS))

    @property
    def start(self) -> list[float]:
        """No evidence yet."""
        return [EMPTY] * len(self.bets)

    def after(self, logs: Sequence[float], happened: bool) -> list[float]:
        """The logarithms of the sums after one more attempt."""
        return [grown(v) + (yes if happened else no) for v, (yes, no) in zip(logs, self.bets, strict=True)]


def _bet(quiet: float, other: float) -> tuple[float, float]:
    return math.log(other / quiet), math.log((1 - other) / (1 - quiet))


BLOCK = 16
"""Attempts after which a bet on shapes is made anew."""
MEMORY = (200.0, 2000.0)
"""In attempts, how long two bettors remember."""
TRUST = 50.0
"""How many attempts the reference is worth to a bettor."""


@dataclass(frozen=True)
class ShapeDetector:
    """Whether values began to fall elsewhere: bets on which of some ranges the next one falls into.

    A bettor bets what it remembers of the last attempts against the reference. The reference is known from finitely many rows, so that its shares
    lie in a box; the bet is divided by the most that it could be expected to win there, and no share in the box makes it win.

    Attributes:
        shares: of the reference in each range.
        low, high: the box: exact bounds of them, all at once.
    """

    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def odds(self, remembered: Sequence[float]) -> list[float]:
        """What a bettor's logarithm gains for each range, given what it remembers of each."""
        total = sum(remembered) + TRUST
        won = [(r + TRUST * s) / (total * s) for r, s in zip(remembered, self.shares, strict=True)]
        most = self._most(won)
        return [math.log(w / most) for w in won]

    def _most(self, won: Sequence[float]) -> float:
        """The largest expected win over the box: what is free goes to the ranges that win most."""
        left, total = 1 - sum(self.low), sum(w * v for w, v in zip(won, self.low, strict=True))
        for k in sorted(range(len(won)), key=lambda k: -won[k]):
            room = min(left, self.high[k] - self.low[k])
            total += won[k] * room
            left -= room
        return max(total, 1e-12)


@dataclass
class ShapeState:
    """Where a shape detector stands, as it is written in JSON.

    Attributes:
        logs: of the sums of each bettor.
        remembered: of each bettor in each range.
        waiting: ranges that came since the bets were made.
    """

    logs: list[float]
    remembered: list[list[float]]
    waiting: list[int]

    @classmethod
    def start(cls, ranges: int) -> ShapeState:
        """No evidence yet."""
        return cls([EMPTY] * len(MEMORY), [[0.0] * ranges for _ in MEMORY], [])


def advanced(detector: ShapeDetector, state: ShapeState, values: Sequence[int]) -> list[float]:
    """Take ranges that values fell into, in their order; the logarithm of the evidence after each. `state` goes along."""
    found: list[float] = []
    odds = [detector.odds(r) for r in state.remembered]
    for value in values:
        state.logs = [grown(v) + o[value] for v, o in zip(state.logs, odds, strict=True)]
        found.append(mean_log(state.logs))
        state.waiting.append(value)
        if len(state.waiting) == BLOCK:
            state.remembered = [_kept(r, state.waiting, m) for r, m in zip(state.remembered, MEMORY, strict=True)]
            state.waiting = []
            odds = [detector.odds(r) for r in state.remembered]
    return found


def _kept(remembered: Sequence[float], came: Sequence[int], memory: float) -> list[float]:
    fade = math.exp(-len(came) / memory)
    return [r * fade + came.count(k) for k, r in enumerate(remembered)]
