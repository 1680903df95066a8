"""The scores of each model against the reference: histograms in which few are shown as none."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import select

from vauban.guard.storage import Store
from vauban.guard.watch.calibration import Calibration
from vauban.guard.watch.drift import Drift, drift
from vauban.guard.watch.tables import monitors

WIDTH = 8
"""Quantised scores to a bin."""
LEAST = 20
"""A bin with fewer scores is not shown: a page must not tell the score of one attempt."""
PREFIX = "histogram:"


@dataclass(frozen=True)
class Bin:
    """Some neighbouring scores.

    Attributes:
        low: the lowest quantised score in it.
        share: of all; None where there are some, but too few to be shown.
        reference: of the reference; None without one.
    """

    low: int
    share: float | None
    reference: float | None


@dataclass(frozen=True)
class Scores:
    """One model.

    Attributes:
        model: its id.
        rows, days: how many scores, of how many days.
        bins: from the most rejected to the most accepted.
        band: scores of at most this size are close to the threshold; None without a reference.
        drift: PSI and Kolmogorov-Smirnov; None without a reference.
    """

    model: str
    rows: int
    days: int
    bins: tuple[Bin, ...]
    band: int | None
    drift: Drift | None


def scores_of(store: Store, calibration: Calibration | None, days: int = 1) -> tuple[Scores, ...]:
    """Read them.

    Args:
        days: of so many days up to now.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        today = int(tx.now() // 86400)
        rows = {
            str(name): json.loads(state)
            for name, state in tx.run(select(monitors.c.name, monitors.c.state).where(monitors.c.name.startswith(PREFIX)))
        }
    found: list[Scores] = []
    for name in sorted(rows):
        held = [counts for day, counts in rows[name].items() if int(day) > today - days]
        if held:
            found.append(_scores(name.removeprefix(PREFIX), [sum(column) for column in zip(*held, strict=True)], len(held), calibration))
    return tuple(found)


def _scores(model: str, counts: list[int], days: int, calibration: Calibration | None) -> Scores:
    reference = calibration.models.get(model) if calibration else None
    old = list(reference.counts) if reference else None
    rows, total = sum(counts), sum(old) if old else 0
    bins: list[Bin] = []
    for i in range(0, 255, WIDTH):
        here = sum(counts[i : i + WIDTH])
        share = None if 0 < here < LEAST else here / rows if rows else 0.0
        bins.append(Bin(i - 127, share, sum(old[i : i + WIDTH]) / total if old and total else None))
    return Scores(model, rows, days, tuple(bins), reference.band if reference else None, drift(old, counts) if old else None)
