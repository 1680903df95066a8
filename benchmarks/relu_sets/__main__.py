"""`python -m benchmarks.relu_sets --data DIR`: train small ReLU networks, find rows that can be broken and are missed, and attack these."""

from __future__ import annotations

import argparse
import datetime
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.__main__ import RESULTS, about
from benchmarks.comparison import Check
from benchmarks.measure import one_thread
from benchmarks.relu_sets.contest import BACKWARDS, FORWARDS, OURS, REFERENCE, fought, summed
from benchmarks.relu_sets.hard import Asking, hard_set
from benchmarks.relu_sets.nets import SPECS
from benchmarks.relu_sets.page import markdown


def main() -> None:
    """Read the command line and run what it asks for."""
    given = _arguments()
    one_thread()
    lines: list[dict[str, Any]] = [about()]
    runs = []
    for name in given.only:
        w, index, search = hard_set(name, given.data, Asking(given.rows, given.limit, given.enough), lambda text: print(text, flush=True))
        lines.append({"kind": "relu set"} | asdict(search))
        if len(w):
            runs += fought(w, index, given.seeds)
    if not runs:
        raise SystemExit("benchmarks: the solver broke no row of these networks; ask it about more (--rows) or for longer (--limit)")
    found = summed(runs)
    lines += [r.line() for r in runs] + found + [c.line() for c in checks(found)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = markdown(lines)
    given.out.with_suffix(".md").write_text(page)
    print(page)


def checks(found: list[dict[str, Any]]) -> list[Check]:
    """The promises: more than half, at AutoAttack's cost or less."""
    ours = {line["side"]: line for line in found if line["net"] == "all"}
    side = ours.get(f"{OURS} + memetic", ours[OURS])
    theirs, name = ours[REFERENCE], side["side"]
    return [
        Check("relu sets", f"{name}: share of the rows broken, worst seed", side["least"] / side["n"], 0.5, at_least=True),
        Check("relu sets", f"{name}: forwards a row over AutoAttack's {FORWARDS}", side["forwards"] / FORWARDS, 1.0),
        Check("relu sets", f"{name}: backwards a row over AutoAttack's {BACKWARDS}", side["backwards"] / BACKWARDS, 1.0),
        Check("relu sets", f"{name}: CPU time over {REFERENCE}'s on the same rows", side["milliseconds"] / theirs["milliseconds"], 1.0),
        Check("relu sets", f"{name}: CPU time over AutoAttack's bare passes", side["milliseconds"] / side["bare"]),
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relu_sets", description="Attacks on rows that a solver proves breakable.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds mnist.npz")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SPECS), metavar="A,B", help=", ".join(SPECS))
    parser.add_argument("--rows", type=int, default=60, help="rows of each network to ask the solver about, the nearest to falling first")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each of them")
    parser.add_argument("--enough", type=int, default=15, help="rows of each network that are broken, at which the solver is asked no more")
    parser.add_argument("--seeds", type=int, default=3, help="how many runs of each side")
    out = RESULTS / f"{datetime.date.today():%Y-%m-%d}-relu-sets.jsonl"
    parser.add_argument("--out", type=Path, default=out, metavar="FILE", help="lines of JSON; a page in Markdown goes beside it")
    given = parser.parse_args()
    unknown = [name for name in given.only if name not in SPECS]
    if unknown:
        parser.error(f"unknown network {unknown[0]!r}; there are {', '.join(SPECS)}")
    return given


if __name__ == "__main__":
    main()
