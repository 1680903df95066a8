"""What is counted while a successor is on its way, and when it is taken back by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from vauban.guard.rotation.tables import tallies
from vauban.guard.storage import Transaction

ALPHA = 0.01
"""The chance, over any time, that an interval has ever not held what it is about."""
HALVINGS = 50


@dataclass(frozen=True)
class Tally:
    """Counts of one ensemble.

    Attributes:
        rows: attempts.
        accepted: those of them that it accepted.
        failed: those without a decision or an answer.
        apart: in shadow, those that it would have decided otherwise.
    """

    rows: int = 0
    accepted: int = 0
    failed: int = 0
    apart: int = 0


def tally_of(tx: Transaction, successor: str, ensemble: str, kind: str) -> Tally:
    """What was counted of an ensemble while `successor` was on its way."""
    where = tallies.c.successor == successor, tallies.c.ensemble == ensemble, tallies.c.kind == kind
    row = tx.run(select(tallies.c.rows, tallies.c.accepted, tallies.c.failed, tallies.c.apart).where(*where)).first()
    return Tally(*map(int, row)) if row else Tally()


def disagreement(tx: Transaction, successor: str) -> Tally:
    """What was counted of an ensemble in shadow."""
    return tally_of(tx, successor, successor, "shadow")


def anytime(hits: int, rows: int, alpha: float = ALPHA) -> tuple[float, float]:
    """An interval for a share that holds it at all times at once with probability 1 - alpha, however often one looks.

    The betting martingale mixed over Beta(1/2, 1/2) stays below 1 / alpha for the true share (Ville's inequality; Robbins 1970).

    >>> [round(v, 3) for v in anytime(900, 1000)]
    [0.857, 0.934]
    >>> anytime(0, 0)
    (0.0, 1.0)
    """
    if not rows:
        return 0.0, 1.0
    mixed = _log_beta(hits + 0.5, rows - hits + 0.5) - _log_beta(0.5, 0.5)
    share, limit = hits / rows, math.log(1 / alpha)

    def inside(p: float) -> bool:
        told = (hits * math.log(p) if hits else 0.0) + ((rows - hits) * math.log1p(-p) if rows > hits else 0.0)
        return mixed - told < limit

    return (0.0 if not hits else _edge(share, 0.0, inside)), (1.0 if hits == rows else _edge(share, 1.0, inside))


def differ(successor: Tally, live: Tally, apart: float) -> str:
    """What is wrong with a successor, beside the live ensemble on other devices at the same time; "" where nothing can be said to be.

    Each interval is anytime-valid, so looking often raises no false alarm: at most 4 x ALPHA over the whole roll-out.
    """
    for name, hits in (("accepts", "accepted"), ("fails at", "failed")):
        low, high = anytime(getattr(successor, hits), successor.rows)
        below, above = anytime(getattr(live, hits), live.rows)
        if low > above + apart or (high < below - apart and hits == "accepted"):
            return f"it {name} [{low:.1%}, {high:.1%}] of {successor.rows} attempts, the live one [{below:.1%}, {above:.1%}] of {live.rows}"
    return ""


def _edge(near: float, far: float, inside: Callable[[float], bool]) -> float:
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        near, far = (middle, far) if inside(middle) else (near, middle)
    return far


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
