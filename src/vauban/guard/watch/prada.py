"""PRADA: queries that are made by a rule lie at distances from each other that natural ones do not (Juuti et al. 2019, EuroS&P, algorithm 3).

The distance of each query to the nearest earlier one that was answered alike is normally distributed for natural queries; W of Shapiro and Wilk
falls below 0.9 for series that an attack made. It promises nothing about false alarms. In a mixture with much honest traffic it sees nothing:
so it looks at clusters and networks, never at everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LINE = 0.9
LEAST = 100
"""Distances that are needed."""


@dataclass(frozen=True)
class Normality:
    """What PRADA says.

    Attributes:
        w: in (0, 1]; None with at most 100 distances.
        distances: how many there are.
    """

    w: float | None
    distances: int

    @property
    def alarm(self) -> bool:
        """Whether the series looks made."""
        return self.w is not None and self.w < LINE


def prada(vectors: npt.NDArray[np.float32], answers: npt.NDArray[np.bool_]) -> Normality:
    """Judge a series of queries.

    Args:
        vectors: float32 (n, d), in their order.
        answers: bool (n,): whether each was accepted.
    """
    found = np.concatenate([_distances(vectors[answers == answer]) for answer in (False, True)])
    if found.size:
        found = found[np.abs(found - found.mean()) <= 3 * found.std()]
    return Normality(_w(found) if found.size > LEAST else None, int(found.size))


def _w(values: npt.NDArray[np.float64]) -> float:
    """W of Shapiro and Wilk; 1 where all are the same."""
    from scipy.stats import shapiro  # half a second to import, which only the survey needs

    return 1.0 if float(np.ptp(values)) == 0 else float(shapiro(values).statistic)


def _distances(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of each query the distance to the nearest one of a growing set; what is nearer than the set's own spacing does not join it."""
    if len(vectors) < 2:
        return np.empty(0)
    squares = np.square(vectors).sum(1)
    joined, bar, found = np.zeros(len(vectors), np.int64), 0.0, np.empty(len(vectors) - 1)
    count, total, square = 1, 0.0, 0.0
    for i in range(1, len(vectors)):
        mine = joined[:count]
        gap = squares[mine] + squares[i] - 2 * (vectors[mine] @ vectors[i])
        found[i - 1] = nearest = math.sqrt(max(0.0, float(gap.min())))
        if nearest > bar:
            joined[count] = i
            total, square = total + nearest, square + nearest * nearest
            mean = total / count
            bar, count = max(bar, mean - math.sqrt(max(0.0, square / count - mean * mean))), count + 1
    return found
