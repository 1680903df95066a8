"""One step along the sign of the gradient: what a library costs when there is almost nothing to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.comparison import Check, Row, Side, above_strongest, compare, fastest, find, per_row, ratio
from benchmarks.options import Options
from benchmarks.ours import vauban
from benchmarks.peers import art, foolbox, torchattacks
from benchmarks.world import world
from vauban.attacks import fgsm

NAME = "fgsm"

SIDES = (
    Side("vauban", vauban(fgsm.bind())),
    Side("foolbox", foolbox(lambda fa: fa.FGSM(random_start=False), lambda w: w.eps)),
    Side("art", art(lambda ev, c, w: ev.FastGradientMethod(c, norm=math.inf, eps=w.eps, batch_size=len(w)))),
    Side("torchattacks", torchattacks(lambda ta, w: ta.FGSM(w.model, eps=w.eps))),
)


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """The tiny CNN and the ResNet."""
    rows: list[Row] = []
    for name, n in (("mnist-at", 200), ("cifar-at", 100)):
        w = world(o.data, name, o.rows(n))
        rows += compare(NAME, w, SIDES, norm=math.inf, eps=w.eps, repeats=o.repeats(15))
    return rows, checks(rows)


def checks(rows: Sequence[Row]) -> list[Check]:
    """Nobody promised a speed here; the examples must be as strong."""
    found: list[Check] = []
    for model in ("mnist-at", "cifar-at"):
        ours = per_row(find(rows, model, "vauban"))
        found.append(Check(NAME, f"{model}: robust accuracy above the strongest other's", above_strongest(rows, model), 0.0))
        found.append(Check(NAME, f"{model}: time over the fastest other library's (for information)", ratio(ours, fastest(rows, model))))
    return found
