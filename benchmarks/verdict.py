"""What each suite says of the same rows, and what the answer costs: robust accuracy, CPU time and passes, paired row by row, over seeds."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

import torch

from benchmarks.comparison import Check, finite, ratio
from benchmarks.contest import LONG, Answer, contender, installed
from benchmarks.elsewhere import BEST, OFFICIAL, Figure, figures
from benchmarks.measure import Yard, cpu_seconds, yardstick
from benchmarks.options import Options
from benchmarks.referee import counted, struck
from benchmarks.tuning.train import FOLDER, SPECS, load
from benchmarks.world import World, world

NAME = "verdict"
OURS, REFERENCE = "vauban", "autoattack"
MODELS = ("mnist-at", "cifar-at")
SIDES = (OURS, REFERENCE, *LONG)
SETS = {"mnist-at": (100, 500), "cifar-at": (50, 500)}
"""Rows for which there are official figures, and more."""
SHARE = 0.10
"""Of the CPU time and of the passes of the reference, at most."""


@dataclass(frozen=True)
class Run:
    """One side on one set of rows with one seed. Seconds are for all `n` rows, passes per row; `hard_`: of rows that nothing broke.

    `forward` and `both`: CPU seconds of bare passes for one row, measured around the run. `standing`: places of rows that nothing broke.
    `unverified`: rows that the side itself says it broke, and the referee does not.
    """

    model: str
    n: int
    side: str
    seed: int
    seconds: float = math.nan
    forward: float = math.nan
    both: float = math.nan
    forwards: float = math.nan
    backwards: float = math.nan
    hard_forwards: float = math.nan
    hard_backwards: float = math.nan
    unverified: int = 0
    standing: tuple[int, ...] = ()
    error: str = ""

    @property
    def robust(self) -> float:
        """The share of the rows that nothing broke."""
        return math.nan if self.error else len(self.standing) / self.n

    @property
    def bare(self) -> float:
        """CPU seconds that the passes made would take on their own."""
        return self.n * Yard(self.forward, self.both).limit(self.forwards, self.backwards)

    def line(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"kind": "verdict run", "robust": finite(self.robust)} | {k: finite(v) for k, v in asdict(self).items()}


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """Every model and set of rows; within each, all sides take turns, seed by seed."""
    named = o.sides or tuple(side for side in SIDES if installed(side))
    lines: list[dict[str, Any]] = []
    found: list[Check] = []
    for model in chosen(o.models):
        for n in sizes(model, o):
            w = arena(o, model, n)
            runs = [fought(w, side, seed) for seed in range(1 if o.quick else o.seeds) for side in named]
            lines += [r.line() for r in runs]
            lines += [said(runs, side) for side in named] + [told(f) for f in figures(model, len(w))]
            pairs = [paired(runs, OURS, side) for side in named if OURS in named and side != OURS]
            lines += [p for p in pairs if p["only_ours"]]
            found += checks(runs)
    return lines, found


def chosen(models: Sequence[str]) -> tuple[str, ...]:
    """Models by name; "tuning" stands for all tuning models that are trained."""
    trained = [name for name in SPECS if (FOLDER / f"{name}.rows.safetensors").is_file()]
    return tuple(m for name in models or MODELS for m in (trained if name == "tuning" else [name]))


def sizes(model: str, o: Options) -> tuple[int, ...]:
    """How many rows: the sets of a reference model, all that is asked for, or the smallest where time is short."""
    usual = SETS.get(model, (200,))
    return (o.n,) if o.n else usual[:1] if o.quick else usual


def arena(o: Options, model: str, n: int) -> World:
    """A reference model, or a tuning model with as many of its held-out rows as it has."""
    if model not in SPECS:
        return world(o.data, model, n)
    bare, x, y, eps = load(model)
    return World(model, copy.deepcopy(bare).requires_grad_(True), bare, x[:n].contiguous(), y[:n].contiguous(), eps)


def fought(w: World, side: str, seed: int) -> Run:
    """One run, counted, timed and judged; what breaks says why, and the others go on."""
    name = LONG.get(side, side)
    answers: list[Answer] = []
    torch.manual_seed(seed)
    part = w.first(100)
    try:
        before = yardstick(part)
        with counted(w.model, w.bare) as passes:
            strike = contender(side)(w, seed)
            seconds = cpu_seconds(lambda: answers.append(strike()))
        yard = before.joined(yardstick(part))
    except Exception as error:  # a side that breaks is a finding
        return Run(w.name, len(w), name, seed, error=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:160])
    seen = struck(w, answers[0].adversarial, math.inf, w.eps)
    hard = [math.nan, math.nan]
    if answers[0].asked is not None and not bool(seen.fooled.all()):
        hard = [float(count[~seen.fooled].double().mean()) for count in answers[0].asked]
    doubtful = 0 if answers[0].broken is None else int((answers[0].broken & ~seen.fooled).sum())
    standing = tuple((~seen.fooled).nonzero()[:, 0].tolist())
    each = passes.forwards / len(w), passes.backwards / len(w)
    return Run(w.name, len(w), name, seed, seconds, yard.forward, yard.both, *each, *hard, doubtful, standing)


def said(runs: Sequence[Run], side: str) -> dict[str, Any]:
    """A side over its seeds: means of what it says, medians of what it costs; `ever`: robust accuracy when one seed is enough to break."""
    name = LONG.get(side, side)
    own = [r for r in runs if r.side == name and not r.error]
    first = next(r for r in runs if r.side == name)
    line: dict[str, Any] = {"kind": "verdict", "model": first.model, "n": first.n, "side": name, "source": "here", "error": first.error}
    if not own:
        return line | dict.fromkeys(("seeds", "robust", "least", "most", "ever", *COSTS))
    standing = set.intersection(*(set(r.standing) for r in own))
    robust = {"robust": mean(r.robust for r in own), "least": min(r.robust for r in own), "most": max(r.robust for r in own)}
    costs = {cost: finite(median(getattr(r, cost) for r in own)) for cost in COSTS if cost != "overhead"}
    return line | robust | costs | {"seeds": len(own), "ever": len(standing) / first.n, "overhead": median(r.seconds / r.bare for r in own)}


COSTS = ("seconds", "overhead", "forwards", "backwards", "hard_forwards", "hard_backwards", "unverified")


def told(f: Figure) -> dict[str, Any]:
    """A figure of elsewhere in the same words."""
    hard = f.hard or (None, None)
    return {"kind": "verdict", "model": f.model, "n": f.n, "side": f.side, "source": "elsewhere", "error": "", "seeds": 1,
            "robust": f.robust, "least": f.robust, "most": f.robust, "ever": None, "seconds": f.seconds, "overhead": f.overhead,
            "forwards": f.forwards, "backwards": f.backwards, "hard_forwards": hard[0], "hard_backwards": hard[1], "unverified": 0}  # fmt: skip


def paired(runs: Sequence[Run], ours: str, theirs: str) -> dict[str, Any]:
    """Seed by seed, how many rows only one of two sides broke."""
    ours, theirs = LONG.get(ours, ours), LONG.get(theirs, theirs)
    here = {(r.side, r.seed): set(r.standing) for r in runs if not r.error}
    both = [(here[ours, s], here[theirs, s]) for s in sorted({r.seed for r in runs}) if (ours, s) in here and (theirs, s) in here]
    return {"kind": "pair", "model": runs[0].model, "n": runs[0].n, "ours": ours, "theirs": theirs,
            "only_ours": [len(b - a) for a, b in both], "only_theirs": [len(a - b) for a, b in both]}  # fmt: skip


def checks(runs: Sequence[Run]) -> list[Check]:
    """Where both of Vauban's suites ran: not above the reference, nor above the best that was reported elsewhere, at a tenth of the cost."""
    ours = {r.seed: r for r in runs if r.side == OURS}
    theirs = {r.seed: r for r in runs if r.side == REFERENCE}
    if not ours:
        return []
    model, n = runs[0].model, runs[0].n
    what = f"{model}, {n} rows: {OURS}"
    found = [Check(NAME, f"{what}'s robust accuracy, worst seed", _worst(ours), BEST[model])] if figures(model, n) else []
    if theirs:
        above = [r.robust - theirs[s].robust for s, r in ours.items()]
        found.append(Check(NAME, f"{what}'s robust accuracy less {REFERENCE}'s, same seed, worst seed", _largest(above), 0.0))
        for cost, named in (("seconds", "CPU time"), ("forwards", "forwards"), ("backwards", "backwards")):
            share = ratio(_middle(ours, cost), _middle(theirs, cost))
            found.append(Check(NAME, f"{what}'s {named} over {REFERENCE}'s", share, SHARE))
    official = next((f for f in figures(model, n) if f.side == OFFICIAL), None)
    if official is not None:
        for cost, peer in (("forwards", official.forwards), ("backwards", official.backwards)):
            share = ratio(_middle(ours, cost), peer)
            found.append(Check(NAME, f"{what}'s {cost} over {OFFICIAL}'s (measured elsewhere)", share, SHARE))
        share = ratio(_middle(ours, "seconds"), _today(official, ours))
        found.append(Check(NAME, f"{what}'s CPU time over {OFFICIAL}'s (its passes at today's pace)", share, SHARE))
    return found


def _today(f: Figure, ours: dict[int, Run]) -> float:
    """The CPU seconds a figure of elsewhere would have taken here: its passes at today's pace, times what it then took over them."""
    return f.overhead * f.n * Yard(_middle(ours, "forward"), _middle(ours, "both")).limit(f.forwards, f.backwards)


def _worst(runs: dict[int, Run]) -> float | None:
    return _largest([r.robust for r in runs.values()])


def _largest(values: Sequence[float]) -> float | None:
    """The largest; None where one is not known, so that a run that broke keeps no promise."""
    return None if any(math.isnan(v) for v in values) else max(values)


def _middle(runs: dict[int, Run], cost: str) -> float:
    return median(getattr(r, cost) for r in runs.values())
