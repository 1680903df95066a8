"""What the components of AutoAttack cost over their own bare passes, on the tiny CNN at batch 64, 100 and 200."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison import Check, Row, Side, find
from benchmarks.options import Options
from benchmarks.ours import vauban
from benchmarks.overhead import in_turns
from benchmarks.world import world
from vauban.attacks.registry import ATTACKS

NAME = "component"
MODEL = "mnist-at"
BATCHES = (64, 100, 200)
PROMISED = {"apgd": 1.10, "apgd-t": 1.10, "fab-t": 1.3, "square": 1.3}
"""Time over its bare passes, at most, in an oracle where broken rows settle."""
SHORTER: dict[str, dict[str, int]] = {"apgd-t": {"targets": 3}, "fab-t": {"targets": 3}, "square": {"queries": 1000}}
"""Fewer targets and questions than published, where more of them only repeat the same; all else as published."""


def sides() -> list[Side]:
    """The components that exist."""
    return [Side(name, vauban(ATTACKS[name].bind(**SHORTER.get(name, {})))) for name in PROMISED if name in ATTACKS]


def run(o: Options) -> tuple[list[Row], list[Check]]:
    """Components in turns, at each batch, or at the one that is asked for."""
    rows: list[Row] = []
    for batch in (o.n,) if o.n else BATCHES:
        rows += in_turns(f"{NAME} batch {batch}", world(o.data, MODEL, batch), sides(), 1 if o.quick else 3)[0]
    return rows, checks(rows)


def checks(rows: Sequence[Row]) -> list[Check]:
    """The median of the turns at every batch; a component that does not exist was not measured."""
    found: list[Check] = []
    for name in dict.fromkeys(r.comparison for r in rows):
        here = [r for r in rows if r.comparison == name]
        for attack, most in PROMISED.items():
            row = find(here, MODEL, attack)
            found.append(Check(name, f"{MODEL}: {attack}, time over its bare passes", None if row is None else row.overhead, most))
    return found
