"""Forty steps of PGD on the reference ResNet, with gradients in float32 and in bfloat16, over bare float32 passes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial

from benchmarks.comparison import Check, Row, Side, find, ratio
from benchmarks.options import Options
from benchmarks.ours import vauban
from benchmarks.overhead import in_turns
from benchmarks.world import world
from vauban.attacks import pgd
from vauban.target import Torch

NAME = "precision"
MODEL, ROWS, STEPS, SHARE = "cifar-at", 100, 40, 0.1
LOW = "bfloat16"
PROMISED = {"float32": 0.65, LOW: 0.45}
"""Time over its own passes, at most, where these are float32, frozen, and laid out as usual."""


def sides() -> list[Side]:
    """Both precisions, rows settling and not; without the option `gradients` of `Torch` only float32."""
    attack = pgd.bind(steps=STEPS, step=SHARE)
    found = [Side("float32", vauban(attack)), Side("float32 all steps", vauban(attack, settle="nearest"))]
    if "gradients" in inspect.signature(Torch).parameters:
        low = partial(Torch, gradients=LOW)
        found += [Side(LOW, vauban(attack, around=low)), Side(f"{LOW} all steps", vauban(attack, settle="nearest", around=low))]
    return found


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """The precisions in turns."""
    rows, _ = in_turns(NAME, world(o.data, MODEL, o.rows(ROWS)), sides(), 1 if o.quick else 5)
    return rows, checks(rows)


def checks(rows: Sequence[Row]) -> list[Check]:
    """Rows settle, as in an audit; and beside it what all forty steps of every row would cost bare, as they cost other libraries."""
    found: list[Check] = []
    whole = find(rows, MODEL, "float32 all steps")
    for name, most in PROMISED.items():
        row, every = find(rows, MODEL, name), find(rows, MODEL, f"{name} all steps")
        if row is None or every is None or whole is None:
            continue
        found += [
            Check(NAME, f"{MODEL}: {name} gradients, time over its bare float32 passes", row.overhead, most),
            Check(NAME, f"{MODEL}: {name}, time over all {STEPS} bare steps of every row (for information)", row.seconds / whole.limit),
            Check(NAME, f"{MODEL}: {name}, no row settles, time over its bare passes (for information)", every.overhead),
        ]
    low, full = find(rows, MODEL, LOW), find(rows, MODEL, "float32")
    if low is not None and full is not None and low.robust is not None and full.robust is not None:
        found.append(Check(NAME, f"{MODEL}: {LOW} over float32, time (for information)", ratio(low.seconds, full.seconds)))
        found.append(Check(NAME, f"{MODEL}: {LOW} less float32, robust accuracy (for information)", low.robust - full.robust))
    return found
