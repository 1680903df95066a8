"""Vauban's side of every comparison."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from benchmarks.comparison import Ready, Strike
from benchmarks.world import World
from vauban.attacks import Attack
from vauban.doors import Oracle
from vauban.doors.oracle.stage import Settle
from vauban.target import Torch
from vauban.threat import Ball, Threat


def vauban(
    attack: Attack, norm: float = math.inf, *, within: bool = True, settle: Settle = "first", around: Callable[[nn.Module], Torch] = Torch
) -> Ready:
    """One attack in one oracle: `within` the usual radius of the model, or at any size. Opening the oracle is timed, with all it checks.

    `around`: puts the target around the model, untimed.
    """

    def ready(w: World) -> Strike:
        target, threat = around(w.model), Threat("bench", Ball(w.eps if within else math.inf, norm))

        def strike() -> Tensor:
            oracle = Oracle(target, w.x, w.y, threat, settle=settle)
            attack(oracle)
            return oracle.outcome.best

        return strike

    return ready


def smallest(attack: Attack, norm: float) -> Ready:
    """The smallest change that an attack finds, row by row."""
    return vauban(attack, norm, within=False, settle="nearest")
