"""What attacks break of a set, and what each row costs them: passes counted at the model, and CPU time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from torch import Tensor

from benchmarks.measure import cpu_seconds, yardstick
from benchmarks.referee import counted, struck
from benchmarks.world import World
from vauban.attacks import ATTACKS, Attack
from vauban.attacks.suites import suite
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Threat

DEEP, OURS, REFERENCE = "memetic", "vauban", "autoattack"
FORWARDS, BACKWARDS = 7864, 1910
"""What AutoAttack spends on a row that it does not break."""


@dataclass(frozen=True)
class Run:
    """One side on one set with one seed: how many of the `n` rows it broke, and what a row cost on average: passes, and CPU milliseconds.

    `most_backwards`: of the dearest row, by the oracle's count. `bare`: CPU milliseconds of AutoAttack's full count of passes, on their own,
    measured around the run.
    """

    net: str
    n: int
    side: str
    seed: int
    broken: int
    forwards: float
    backwards: float
    most_backwards: int
    milliseconds: float
    bare: float

    def line(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"kind": "relu run"} | asdict(self)


def sides(threat: Threat, shape: tuple[int, ...]) -> dict[str, tuple[Attack, ...]]:
    """Attacks in order by the name of the side; the suite with the deep search after it, where it has none."""
    ours, deep = suite(OURS, threat, shape), ATTACKS[DEEP].bind()
    with_deep = {} if DEEP in {a.name for a in ours} else {f"{OURS} + {DEEP}": (*ours, deep)}
    return {DEEP: (deep,), OURS: ours} | with_deep | {REFERENCE: suite(REFERENCE, threat, shape)}


def fought(w: World, index: Tensor, seeds: int) -> list[Run]:
    """All sides in turns, seed by seed. `index`: which test rows the world's are, for the noise that belongs to each."""
    threat = Threat(w.name, Ball(w.eps))
    found = sides(threat, tuple(w.x.shape[1:]))
    _run(w, index, "warm-up", found[DEEP], threat, 0)
    return [_run(w, index, name, attacks, threat, seed) for seed in range(seeds) for name, attacks in found.items()]


def _run(w: World, index: Tensor, side: str, attacks: Sequence[Attack], threat: Threat, seed: int) -> Run:
    oracles: list[Oracle] = []

    def strike() -> None:
        o = Oracle(Torch(w.model, outputs="logits"), w.x, w.y, threat, seed=seed, ids=index)
        for attack in attacks:
            attack(o)
        oracles.append(o)

    before = yardstick(w)
    with counted(w.model) as passes:
        seconds = cpu_seconds(strike)
    yard = before.joined(yardstick(w))
    outcome, n = oracles[0].outcome, len(w)
    broken = int(struck(w, outcome.best, math.inf, w.eps).fooled.sum())
    each = passes.forwards / n, passes.backwards / n, int(outcome.gradients.max()), 1e3 * seconds / n
    return Run(w.name, n, side, seed, broken, *each, 1e3 * yard.limit(FORWARDS, BACKWARDS))


def summed(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each net and side, and for each side over all nets: means over seeds."""
    found = [_said(net, side, runs) for net in dict.fromkeys(r.net for r in runs) for side in dict.fromkeys(r.side for r in runs)]
    return found + [_said("all", side, runs) for side in dict.fromkeys(r.side for r in runs)]


def _said(net: str, side: str, runs: Sequence[Run]) -> dict[str, Any]:
    own = [r for r in runs if r.side == side and net in (r.net, "all")]
    seeds = sorted({r.seed for r in own})
    n = sum(r.n for r in own if r.seed == seeds[0])
    per_seed = [sum(r.broken for r in own if r.seed == s) for s in seeds]
    costs = {k: sum(getattr(r, k) * r.n for r in own) / sum(r.n for r in own) for k in ("forwards", "backwards", "milliseconds", "bare")}
    most = max(r.most_backwards for r in own)
    return {"kind": "relu side", "net": net, "n": n, "side": side, "seeds": len(seeds), "broken": mean(per_seed), "least": min(per_seed),
            "most": max(per_seed), "most_backwards": most} | costs  # fmt: skip
