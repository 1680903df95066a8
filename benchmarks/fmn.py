"""The fast minimum-norm attack, 200 steps, in L2 and L-infinity."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.comparison import Check, Row, Side, compare, fastest, find, median_ratio, per_row, ratio
from benchmarks.options import Options
from benchmarks.ours import smallest
from benchmarks.peers import adv_lib, foolbox
from benchmarks.world import world
from vauban.attacks import fmn

NAME = "fmn"
STEPS = 200


def sides(norm: float) -> list[Side]:
    """The libraries that have it."""
    named = "LInfFMNAttack" if norm == math.inf else "L2FMNAttack"
    return [
        Side("vauban", smallest(fmn.bind(steps=STEPS), norm)),
        Side("foolbox", foolbox(lambda fa: getattr(fa, named)(steps=STEPS))),
        Side("adv-lib", adv_lib(lambda al, w: al.fmn(w.model, w.x, w.y, norm=norm, steps=STEPS))),
    ]


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """The tiny CNN, trained plainly and adversarially."""
    rows: list[Row] = []
    for name in ("mnist-std", "mnist-at"):
        w = world(o.data, name, o.rows(100))
        for norm, text in ((2.0, "L2"), (math.inf, "Linf")):
            rows += compare(f"{NAME} {text}", w, sides(norm), norm=norm, eps=None, repeats=o.repeats(3))
    return rows, [c for text in ("L2", "Linf") for c in checks([r for r in rows if r.comparison.endswith(text)])]


def checks(rows: Sequence[Row]) -> list[Check]:
    """No distance larger than Foolbox's by more than 1 %; the time is for information."""
    found: list[Check] = []
    name = rows[0].comparison
    for model in ("mnist-std", "mnist-at"):
        ours, theirs = find(rows, model, "vauban"), find(rows, model, "foolbox")
        time = ratio(per_row(ours), fastest(rows, model, success=0.9))
        found.append(Check(name, f"{model}: median distance over Foolbox's", median_ratio(ours, theirs), 1.01))
        found.append(Check(name, f"{model}: time over the fastest other library's (for information)", time))
    return found
