"""DeepFool in L2: fifty steps at most, an overshoot of 2 %, all ten classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.comparison import Check, Row, Side, compare, find, median_ratio, per_row, ratio
from benchmarks.options import Options
from benchmarks.ours import smallest
from benchmarks.peers import adv_lib, art, foolbox, torchattacks
from benchmarks.world import CLASSES, world
from vauban.attacks import deepfool

NAME = "deepfool"
STEPS, OVERSHOOT = 50, 0.02

SIDES = (
    Side("vauban", smallest(deepfool.bind(steps=STEPS, overshoot=OVERSHOOT), 2)),
    Side("foolbox", foolbox(lambda fa: fa.L2DeepFoolAttack(steps=STEPS, candidates=CLASSES, overshoot=OVERSHOOT, loss="logits"))),
    Side(
        "art", art(lambda ev, c, w: ev.DeepFool(c, max_iter=STEPS, epsilon=OVERSHOOT, nb_grads=CLASSES, batch_size=len(w), verbose=False))
    ),
    Side("adv-lib", adv_lib(lambda al, w: al.df(w.model, w.x, w.y, steps=STEPS, overshoot=OVERSHOOT, norm=2))),
)
SLOW = Side("torchattacks", torchattacks(lambda ta, w: ta.DeepFool(w.model, steps=STEPS, overshoot=OVERSHOOT)), rows=20)


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """The plainly trained models, and the adversarially trained tiny CNN."""
    rows: list[Row] = []
    for name, n in (("mnist-std", 200), ("mnist-at", 100), ("cifar-std", 100)):
        w = world(o.data, name, o.rows(n))
        sides = list(SIDES) if o.quick or name != "mnist-std" else [*SIDES, SLOW]
        if name == "cifar-std":  # ART needs most of a second of CPU time a row there
            sides = [replace(side, rows=20) if side.name == "art" else side for side in sides]
        rows += compare(NAME, w, sides, norm=2, eps=None, repeats=o.repeats(3))
    return rows, checks(rows)


def checks(rows: Sequence[Row]) -> list[Check]:
    """On the plainly trained tiny CNN."""
    model = "mnist-std"
    ours, foolbox_, art_ = (find(rows, model, side) for side in ("vauban", "foolbox", "art"))
    nearest = min((r for r in (foolbox_, art_) if r is not None and r.median is not None), key=lambda r: r.median or 0, default=None)
    return [
        Check(NAME, f"{model}: times faster than Foolbox", ratio(per_row(foolbox_), per_row(ours)), 2.0, at_least=True),
        Check(NAME, f"{model}: times faster than ART", ratio(per_row(art_), per_row(ours)), 8.0, at_least=True),
        Check(NAME, f"{model}: median L2 over the lesser of theirs", median_ratio(ours, nearest), 1.0 + 1e-3),
    ]
