"""Decoupled direction and norm with 200 steps, held against Carlini and Wagner's 9 searches of 1000 steps: as near, for a fraction."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import cw
from benchmarks.comparison import Check, Row, Side, compare, find, median_ratio, per_row, ratio
from benchmarks.options import Options
from benchmarks.ours import smallest
from benchmarks.peers import adv_lib, foolbox
from benchmarks.world import world
from vauban.attacks import ddn

NAME = "ddn"
STEPS = 200

SIDES = (
    Side("vauban", smallest(ddn.bind(steps=STEPS), 2)),
    Side("foolbox", foolbox(lambda fa: fa.DDNAttack(init_epsilon=1.0, steps=STEPS, gamma=0.05))),
    Side("adv-lib", adv_lib(lambda al, w: al.ddn(w.model, w.x, w.y, steps=STEPS, levels=None))),
)


def run(o: Options, carlini: Sequence[Row] = ()) -> tuple[list[Row], list[Check]]:
    """The tiny CNN, trained plainly and adversarially. `carlini`: rows of `cw` where it ran in the same command; else it runs here."""
    rows: list[Row] = []
    for name in ("mnist-std", "mnist-at"):
        w = world(o.data, name, o.rows(100))
        rows += compare(NAME, w, SIDES, norm=2, eps=None, repeats=o.repeats(5))
    long = [r for r in carlini if r.comparison == "cw 9x1000"]
    fresh: list[Row] = []
    if not long:
        w = world(o.data, "mnist-std", o.rows(100))
        long = fresh = compare("cw 9x1000", w, cw.sides(9, 1000, all_sides=False)[:2], norm=2, eps=None, repeats=0)
    return rows + fresh, checks(rows, long)


def checks(rows: Sequence[Row], long: Sequence[Row]) -> list[Check]:
    """On the plainly trained tiny CNN."""
    model = "mnist-std"
    ours = find(rows, model, "vauban")
    found: list[Check] = []
    for side, whose in (("vauban", "ours"), ("foolbox", "Foolbox's")):
        found.append(Check(NAME, f"{model}: median L2 over C&W 9x1000 ({whose})", median_ratio(ours, find(long, model, side)), 1.005))
    cost = ratio(per_row(ours), per_row(find(long, model, "foolbox")))
    return [*found, Check(NAME, f"{model}: time over Foolbox's C&W 9x1000", cost, 1 / 40)]
