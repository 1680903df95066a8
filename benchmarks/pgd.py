"""Forty steps of projected gradient ascent in L-infinity: the same steps, start and radius for every library."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.comparison import Check, Row, Side, above_strongest, compare, fastest, find, per_row, ratio
from benchmarks.options import Options
from benchmarks.ours import vauban
from benchmarks.peers import adv_lib, art, foolbox, torchattacks
from benchmarks.world import world
from vauban.attacks import pgd

NAME = "pgd"
STEPS, SHARE = 40, 0.1
"""Forty steps of a tenth of the radius, from a uniform start."""

SIDES = (
    Side("vauban", vauban(pgd.bind(steps=STEPS, step=SHARE))),
    Side("vauban all steps", vauban(pgd.bind(steps=STEPS, step=SHARE), settle="nearest")),
    Side("foolbox", foolbox(lambda fa: fa.LinfPGD(abs_stepsize=None, rel_stepsize=SHARE, steps=STEPS, random_start=True), lambda w: w.eps)),
    Side("art", art(lambda ev, c, w: ev.ProjectedGradientDescent(
        c, norm=math.inf, eps=w.eps, eps_step=SHARE * w.eps, max_iter=STEPS, num_random_init=1, batch_size=len(w), verbose=False))),
    Side("torchattacks", torchattacks(lambda ta, w: ta.PGD(w.model, eps=w.eps, alpha=SHARE * w.eps, steps=STEPS, random_start=True))),
    Side("adv-lib", adv_lib(lambda al, w: al.pgd_linf(w.model, w.x, w.y, w.eps, steps=STEPS, random_init=True, relative_step_size=SHARE))),
)  # fmt: skip


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """The tiny CNN, trained plainly and adversarially, and the adversarially trained ResNet."""
    rows: list[Row] = []
    for name, n in (("mnist-std", 200), ("mnist-at", 200), ("cifar-at", 100)):
        w = world(o.data, name, o.rows(n))
        rows += compare(NAME, w, SIDES, norm=math.inf, eps=w.eps, repeats=o.repeats(3))
    return rows, checks(rows)


def checks(rows: Sequence[Row]) -> list[Check]:
    """On the adversarially trained ResNet."""
    model = "cifar-at"
    ours = per_row(find(rows, model, "vauban"))
    found = [Check(NAME, f"{model}: times faster than the fastest other library", ratio(fastest(rows, model), ours), 2.5, at_least=True)]
    for side, named in (("foolbox", "Foolbox"), ("art", "ART")):
        times = ratio(per_row(find(rows, model, side)), ours)
        found.append(Check(NAME, f"{model}: times faster than {named}", times, 3.5, at_least=True))
    return [*found, Check(NAME, f"{model}: robust accuracy above the strongest other's", above_strongest(rows, model), 0.0)]
