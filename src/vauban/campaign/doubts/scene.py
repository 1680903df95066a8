"""What a doubter sees: the campaign, and all that the attacks under one threat brought to light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import AttackResult, Doubt
from vauban.measure.rate import Rate

TIME_LIMIT = "time limit"
"""Why an attack stopped that the time limit cut short."""
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """One threat after the fight. Arrays have one entry a row, (n,), in ascending order of row id.

    Attributes:
        plan, siege: who was attacked, on what, how.
        rows, label, answer: row ids, true classes, clean answers, int64.
        eligible, attacked, correct: in the denominator; attacked at all; clean answer right.
        broken: an example was verified, or (untargeted) the clean input errs.
        distance: float64, of the nearest known example; 0 where the clean input errs, inf where none is known.
        by: the place of the attack in `attacks` that broke it, or -1.
        first: which of all questions on the row won; 0 where it erred untouched, -1 where none did.
        queries: questions asked on it.
        attacks: what each attack did.
        robust: the rate that is doubted.
        nonfinite, bad_gradient: how many rows had a score, or a gradient, that was not finite.
        unverified: how many rows had an example that did not fool again.
    """

    plan: Plan
    siege: Siege
    rows: Ints
    label: Ints
    answer: Ints
    eligible: Bools
    attacked: Bools
    correct: Bools
    broken: Bools
    distance: Floats
    by: Ints
    first: Ints
    queries: Ints
    attacks: tuple[AttackResult, ...]
    robust: Rate
    nonfinite: int = 0
    bad_gradient: int = 0
    unverified: int = 0

    @property
    def cut(self) -> list[str]:
        """The labels of the attacks that the time limit cut short."""
        return [a.label for a in self.attacks if a.stopped == TIME_LIMIT]

    def settings(self, place: int) -> dict[str, Any]:
        """The settings of an attack."""
        return dict(self.siege.attacks[place].settings)


class Doubter(Protocol):
    """Looks for one sign. Gives a doubt, or None where there is no reason to doubt."""

    def __call__(self, scene: Scene, /) -> Doubt | None: ...
