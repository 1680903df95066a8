"""What the oracle costs over bare passes and over a loop written by hand: fixed 40-step PGD on the tiny CNN, at batch 200 and batch 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.comparison import Check, Reading, Row, Side, Strike, compare, find, ratio, timed, timed_row
from benchmarks.options import Options
from benchmarks.ours import vauban
from benchmarks.world import World, world
from vauban.attacks import pgd

NAME = "overhead"
STEPS, SHARE = 40, 0.1


def by_hand(w: World) -> Strike:
    """The twelve lines that anyone would write: frozen parameters, gradient in the input only, no check but the last answer."""

    def strike() -> Tensor:
        lower, upper = (w.x - w.eps).clamp(0, 1), (w.x + w.eps).clamp(0, 1)
        x = (w.x + (torch.rand_like(w.x) * 2 - 1) * w.eps).clamp(0, 1)
        for _ in range(STEPS):
            x = x.detach().requires_grad_()
            loss = functional.cross_entropy(w.bare(x), w.y, reduction="sum")
            x = torch.clamp(x.detach() + SHARE * w.eps * torch.autograd.grad(loss, x)[0].sign(), lower, upper)
        with torch.no_grad():
            w.bare(x).argmax(1)
        return x

    return strike


ATTACK = pgd.bind(steps=STEPS, step=SHARE)
SIDES = (
    Side("by hand", by_hand),
    Side("vauban nearest", vauban(ATTACK, settle="nearest")),
    Side("vauban worst", vauban(ATTACK, settle="worst")),
    Side("vauban first", vauban(ATTACK)),
)
"""nearest: every step judged, nobody settles; worst: nothing judged, as in adversarial training; first: the usual audit, rows settle."""


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """Sides in turns, many times: differences of a few per cent on a machine whose speed wanders by more."""
    rows: list[Row] = []
    found: list[Check] = []
    for model in ("mnist-at", "mnist-std"):
        for batch, rounds in ((200, 11), (1, 41)):
            w = world(o.data, model, batch)
            batch_rows, readings = in_turns(f"{NAME} batch {batch}", w, SIDES, max(rounds // 4, 3) if o.quick else rounds)
            rows += batch_rows
            found += checks(batch, batch_rows, readings)
    return rows, found


def in_turns(name: str, w: World, sides: Sequence[Side], rounds: int) -> tuple[list[Row], dict[str, list[Reading]]]:
    """A counted run of each side, then rounds in which each runs once; the ratios compare within a round."""
    rows = compare(name, w, sides, norm=math.inf, eps=w.eps, repeats=0)
    readings: dict[str, list[Reading]] = {side.name: [] for side in sides}
    strikes = {side.name: side.ready(w) for side in sides}
    for _ in range(rounds):
        for side in sides:
            readings[side.name].append(timed(w, strikes[side.name]))
    return [timed_row(row, readings[row.side]) for row in rows], readings


def checks(batch: int, rows: Sequence[Row], readings: dict[str, list[Reading]]) -> list[Check]:
    """At batch 200 against the bare passes, at batch 1 against the loop by hand (median of the ratios within each round)."""
    name, model = rows[0].comparison, rows[0].model
    hand = [s for s, _, _ in readings["by hand"]]
    over_hand = {side: median(s / h for (s, _, _), h in zip(r, hand, strict=True)) for side, r in readings.items()}
    best_hand = {r.side: ratio(r.best, rows[0].best) for r in rows}
    found: list[Check] = []
    if batch > 1:
        for side in ("vauban nearest", "vauban worst"):
            row = find(rows, model, side)
            found.append(Check(name, f"{model}: {side}, time over its bare passes", None if row is None else row.overhead, 1.10))
            found.append(Check(name, f"{model}: {side}, time over the loop by hand (for information)", over_hand[side]))
        found.append(Check(name, f"{model}: by hand, time over its bare passes (for information)", rows[0].overhead))
    else:
        for side in ("vauban nearest", "vauban worst"):
            found.append(Check(name, f"{model}: {side}, time over the loop by hand", over_hand[side], 1.15))
            found.append(Check(name, f"{model}: {side}, least time over least (for information)", best_hand[side]))
    return found
