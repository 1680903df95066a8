"""`python -m benchmarks.oars`: query attacks and their OARS forms against a service that remembers, as a table in Markdown."""

from __future__ import annotations

import argparse
import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.__main__ import RESULTS, measured_on
from benchmarks.guard import remembered
from benchmarks.measure import one_thread
from vauban.attacks import ATTACKS
from vauban.threat import Ball

IMAGES, QUESTIONS = 12, 300
PAIRS = (("nes", "NES", Ball(0.05)), ("square", "Square", Ball(0.05)), ("hop-skip-jump", "HopSkipJump", Ball(0.5, "l2")))
"""Each attack with the name that its paper gives it, and what it may change."""
HEAD = ("attack", "", "fell: no guard", "fell: guard", "refused", "median questions, guard")
ABOUT = f"""
A Blacklight of 16 x 16 images (windows of 20, levels of 50, threshold 0.5; Li et al. 2022) around a linear model of three classes, {IMAGES} images,
at most {QUESTIONS} questions each. *Refused*: of the questions asked of the guard. The median counts images that stood as never fallen: "-" where
these are half or more.
"""


@dataclass(frozen=True)
class Siege:
    """What one attack did: images that fell without and with the guard, and of the guard's questions the share refused and the median until
    the fall (inf where half of the images or more stood)."""

    free: int
    guarded: int
    refused: float
    questions: float


def besieged(name: str, ball: Ball, images: int = IMAGES, queries: int = QUESTIONS) -> Siege:
    """Run an attack on fresh ground, first without the guard and then with it."""
    attack = ATTACKS[name].bind()
    fell: list[int] = []
    for guarded in (False, True):
        o, _ = remembered(attack.facts.access, ball, images, queries=queries, guarded=guarded)
        attack(o)
        fell.append(int(o.outcome.broken.sum()))
    r = o.outcome
    first = [float(q) if won else float("inf") for q, won in zip(r.first.tolist(), r.broken.tolist(), strict=True)]
    return Siege(*fell, float(r.refused.sum() / r.queries.sum()), median(first))


def line(name: str, where: str, s: Siege) -> str:
    """One row of the table."""
    questions = "-" if s.questions == float("inf") else f"{s.questions:.0f}"
    return _cells((name, where, str(s.free), str(s.guarded), f"{s.refused:.0%}", questions))


def table() -> str:
    """Every attack and its OARS form, in Markdown."""
    lines = [_cells(HEAD), "|" + "---|" * len(HEAD)]
    for name, title, ball in PAIRS:
        lines.append(line(title, f"{'Linf' if ball.kind == 'linf' else 'L2'} {ball.eps:g}", besieged(name, ball)))
        lines.append(line(f"oars-{name}", "", besieged(f"oars-{name}", ball)))
    return "\n".join(lines) + "\n"


def _cells(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def main() -> None:
    """Measure, print, and write a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oars", description="OARS against a service that remembers its questions.")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{datetime.date.today():%Y-%m-%d}-oars.md", metavar="FILE", help="the page")
    given = parser.parse_args()
    one_thread()
    measured, found = measured_on(), table()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(f"# Query attacks against a service that remembers\n\n{measured}\n{ABOUT}\n{found}")
    print(found)


if __name__ == "__main__":
    main()
