"""Carlini and Wagner's L2 attack at equal steps: 5 searches of 200 steps, and 9 of 1000."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison import Check, Row, Side, compare, fastest, find, median_ratio, per_row, ratio
from benchmarks.options import Options
from benchmarks.ours import smallest
from benchmarks.peers import adv_lib, art, foolbox, torchattacks
from benchmarks.world import world
from vauban.attacks import cw_l2

NAME = "cw"
RATE, CONSTANT = 0.01, 0.001
GOOD = 0.9
"""A library that finds no example for more than a tenth of the rows is not compared with: its time buys something else."""


def sides(searches: int, steps: int, *, all_sides: bool) -> list[Side]:
    """The libraries that search for the constant; and, briefly, the one that does not and the one that seldom succeeds."""
    found = [
        Side("vauban", smallest(cw_l2.bind(steps=steps, searches=searches, rate=RATE, constant=CONSTANT), 2)),
        Side("foolbox", foolbox(lambda fa: fa.L2CarliniWagnerAttack(
            binary_search_steps=searches, steps=steps, stepsize=RATE, confidence=0, initial_const=CONSTANT, abort_early=True))),
        Side("adv-lib", adv_lib(lambda al, w: al.carlini_wagner_l2(
            w.model, w.x, w.y, learning_rate=RATE, initial_const=CONSTANT, binary_search_steps=searches, max_iterations=steps))),
    ]  # fmt: skip
    if not all_sides:
        return found
    return [
        *found,
        Side("torchattacks", torchattacks(lambda ta, w: ta.CW(w.model, c=1, kappa=0, steps=steps, lr=RATE))),
        Side("art", art(lambda ev, c, w: ev.CarliniL2Method(
            c, confidence=0.0, learning_rate=RATE, binary_search_steps=searches, max_iter=steps, initial_const=CONSTANT, batch_size=len(w),
            verbose=False)), rows=5),
    ]  # fmt: skip


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """The plainly trained tiny CNN."""
    w = world(o.data, "mnist-std", o.rows(100))
    short = compare(f"{NAME} 5x200", w, sides(5, 200, all_sides=not o.quick), norm=2, eps=None, repeats=o.repeats(0))
    long = compare(f"{NAME} 9x1000", w, sides(9, 1000, all_sides=False), norm=2, eps=None, repeats=0)
    return short + long, checks(short) + checks(long)


def checks(rows: Sequence[Row]) -> list[Check]:
    """Against the best of the libraries that succeed."""
    name, model = rows[0].comparison, rows[0].model
    ours = find(rows, model, "vauban")
    good = [r for r in rows if r.side != "vauban" and r.median is not None and (r.success or 0) >= GOOD]
    nearest = min(good, key=lambda r: r.median or 0, default=None)
    time = ratio(per_row(ours), fastest(rows, model, success=GOOD))
    return [
        Check(name, f"{model}: time over the best other library's", time, 0.7),
        Check(name, f"{model}: median distance over the best other library's", median_ratio(ours, nearest), 1.0 + 1e-3),
    ]
