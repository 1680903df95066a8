"""PSI and the Kolmogorov-Smirnov distance, for the eye only: they promise nothing about false alarms, so nothing depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Drift:
    """How far scores lie from the reference.

    Attributes:
        psi: population stability index over ten ranges of the reference.
        quiet: what it is on the average with as many scores and no drift: (ranges - 1) (1/n + 1/reference).
        ks: the largest difference of the two cumulative shares.
        rows: scores that this rests on.
    """

    psi: float
    quiet: float
    ks: float
    rows: int


def drift(reference: Sequence[int], counts: Sequence[int]) -> Drift | None:
    """Compare counts of quantised scores; None without any.

    >>> drift([10, 10, 20], [10, 10, 20]).ks
    0.0
    """
    old, new = np.asarray(reference, float), np.asarray(counts, float)
    n, m = new.sum(), old.sum()
    if n == 0 or m == 0:
        return None
    below = np.cumsum(old) / m
    bins = np.minimum((BINS * (below - old / m / 2)).astype(int), BINS - 1)
    used = np.unique(bins)
    p = np.array([old[bins == b].sum() for b in used]) / m
    q = np.array([new[bins == b].sum() for b in used]) / n
    p, q = np.maximum(p, 0.5 / m), np.maximum(q, 0.5 / n)
    psi = float(((q - p) * np.log(q / p)).sum())
    ks = float(np.abs(np.cumsum(new) / n - below).max())
    return Drift(psi, (len(used) - 1) * (1 / n + 1 / m), ks, int(n))
