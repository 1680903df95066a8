"""Verdicts that were measured elsewhere, in other runs: official AutoAttack and A3 are on no package registry, so they cannot run beside us.

The first n correctly classified test rows, one seed, CPU seconds of one thread of the same kind of processor.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What a peer reported. Seconds are for all `n` rows; passes are per row; `hard`: those of a row that nothing breaks.

    `overhead`: seconds over what the same passes cost on their own, then and there.
    """

    side: str
    model: str
    n: int
    robust: float
    seconds: float
    overhead: float
    forwards: float
    backwards: float
    hard: tuple[float, float] | None = None


OFFICIAL = "official AutoAttack"
HARD = (7864.0, 1910.0)
"""Forwards and backwards that official AutoAttack (standard, L-infinity, 10 classes) spends on a row it cannot break."""
FIGURES = (
    Figure(OFFICIAL, "mnist-at", 100, 0.84, 30.0, 1.68, 6660, 1640, HARD),
    Figure("A3, 100 iterations", "mnist-at", 100, 0.83, 20.1, 1.51, 2601, 1271),
    Figure("torchattacks AutoAttack (10 steps)", "mnist-at", 100, 0.85, 13.0, 1.96, 4593, 175),
    Figure(OFFICIAL, "cifar-at", 50, 0.50, 211.0, 1.18, 4008, 1026, HARD),
    Figure("A3, 100 iterations", "cifar-at", 50, 0.50, 108.0, 1.30, 1610, 787),
    Figure("torchattacks AutoAttack (10 steps)", "cifar-at", 50, 0.50, 110.0, 1.37, 2677, 108),
)
BEST = {"mnist-at": 0.83, "cifar-at": 0.50}
"""The lowest robust accuracy that anyone reported on these rows."""


def figures(model: str, n: int) -> tuple[Figure, ...]:
    """What was measured elsewhere on the first n rows of a model."""
    return tuple(f for f in FIGURES if f.model == model and f.n == n)
