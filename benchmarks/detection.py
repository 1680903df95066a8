"""`python -m benchmarks.detection --data DIR`: what detectors catch of an attacker that does not know of them, and of one that does.

Rows are the first that the bare model gets right. Each detector is fitted and calibrated on other clean rows, to reject 5 % of what the model
gets right; what it rejects of a third set of clean rows is measured. *Oblivious*: the last points of PGD on the bare model. *Adaptive*: the
attacks that the detector owes, through an oracle that answers with the real detector. The area under the ROC curve of the adaptive attacker
is that of one ascent of 100 steps on the loss "selective" which goes on after its first success. Intervals are 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from benchmarks.__main__ import RESULTS, about
from benchmarks.comparison import Check
from benchmarks.measure import one_thread
from benchmarks.world import reference
from vauban.attacks import find as attack_named
from vauban.attacks import pgd
from vauban.defences import find
from vauban.defences.detection.rejecting import Rejecting
from vauban.doors import Oracle
from vauban.measure.rate import Rate
from vauban.measure.rejection import Answers
from vauban.noise import RowNoise
from vauban.target import Torch
from vauban.target.around import worn_by
from vauban.threat import Ball, Threat

ROWS, CLEAN, FRESH = 150, 1000, 1000
WORLDS: tuple[tuple[str, float, str], ...] = (("mnist-std", 0.15, "0.15"), ("cifar-std", 4 / 255, "4/255"), ("cifar-std", 8 / 255, "8/255"))
DETECTORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("max-softmax", {}),
    ("energy", {}),
    ("mahalanobis", {}),
    ("knn", {}),
    ("lid", {}),
    ("kde", {}),
    ("reconstruction", {}),
    ("reconstruction", {"measure": "divergence"}),
    ("feature-squeezing", {}),
    ("conformal", {"by_class": True}),
    ("noise-stability", {}),
)
COLOUR = ("max-softmax", "mahalanobis", "feature-squeezing")
"""Those that are faced on colour images unless others are named: a network of this size takes a minute of CPU time for each."""
ANCHORS = {
    ("mnist-std", "0.15", "max-softmax"): (0.667, 0.06, 0.563, 0.88),
    ("mnist-std", "0.15", "energy"): (0.665, 0.06, 0.421, 0.96),
    ("mnist-std", "0.15", "mahalanobis"): (0.651, 0.06, 0.325, 0.96),
    ("mnist-std", "0.15", "kde"): (0.685, 0.12, 0.511, 0.92),
    ("mnist-std", "0.15", "knn"): (0.795, 0.19, 0.523, 0.94),
    ("mnist-std", "0.15", "noise-stability"): (0.738, 0.15, 0.609, 0.90),
    ("mnist-std", "0.15", "feature-squeezing"): (0.998, 0.99, 0.991, 0.02),
    ("cifar-std", "4/255", "feature-squeezing"): (0.641, None, 0.185, 0.758),
    ("cifar-std", "8/255", "feature-squeezing"): (0.605, None, 0.096, 0.958),
}
"""Measured before, on other networks of the same kind, by other attacks: oblivious area, detected, adaptive area, undetected success."""


@dataclass(frozen=True)
class Line:
    """One detector in one world. Shares as hits of rows; `before`: the anchor, where there is one."""

    data: str
    eps: str
    detector: str
    n: int
    rejected: tuple[int, int]
    fooled: int
    detected: tuple[int, int]
    accepted: int
    oblivious: int
    area: tuple[float, float, float]
    adaptive: int
    adaptive_area: tuple[float, float, float]
    robust: tuple[int, int]
    by: dict[str, int]
    cost: float
    seconds: float
    before: tuple[float | None, ...] = ()


def run(data: Path, n: int, only: str, named: tuple[str, ...]) -> Iterator[Line]:
    """Every detector in every world, or those named. Rows that are not attacked are shuffled: the first half of MNIST's is the easier one."""
    for name, eps, text in WORLDS:
        if only and only not in name:
            continue
        source = reference(data)
        bare = Torch(source.load(name), outputs="logits", name=name)
        x, y = source.data(name, "test", 10000 if "mnist" in name else 4000)
        right = torch.cat([bare.labels(part) for part in x[: 3 * n].split(200)]) == y[: 3 * n]
        rows = (x[: 3 * n][right][:n], y[: 3 * n][right][:n])
        order = 3 * n + torch.randperm(len(x) - 3 * n, generator=torch.Generator().manual_seed(0))
        clean, fresh = ((x[part], y[part]) for part in (order[:CLEAN], order[CLEAN : CLEAN + FRESH]))
        points = last_points(bare, *rows, eps, "cross-entropy")
        for detector, settings in DETECTORS:
            if detector not in (named or (COLOUR if "cifar" in name else [d for d, _ in DETECTORS])):
                continue
            said = detector + "".join(f", {k} {v}".replace(" True", "").replace("_", " ") for k, v in settings.items())
            target = find(detector).bind(**settings).around(bare, clean)
            if not isinstance(target, Rejecting):
                raise TypeError(f"{detector} gave a {type(target).__name__}")
            yield measured(bare, target, rows, fresh, points, (name, eps, text), said)


def measured(
    bare: Torch,
    target: Rejecting,
    rows: tuple[Tensor, Tensor],
    fresh: tuple[Tensor, Tensor],
    points: Tensor,
    world: tuple[str, float, str],
    said: str,
) -> Line:
    """One detector; `points`: where the oblivious attack ended."""
    name, eps, text = world
    began, (x, y) = time.process_time(), rows
    kept = bare.labels(fresh[0]) == fresh[1]
    false = int((strange(target, fresh[0][kept]) > target.threshold).sum())
    naive = answers(bare, target, x, y, points)
    knowing = answers(bare, target, x, y, last_points(target, x, y, eps, "selective"))
    through = naive.attacked_wrong & (naive.attacked <= target.threshold)
    o = Oracle(target, x, y, Threat("insider", Ball(eps)))
    taken = o.outcome.correct.numpy()
    for owed in ({"attack": "oblivious", "settings": {}}, *(asdict(owed) for worn in worn_by(target) for owed in worn.owed)):
        attack_named(owed["attack"]).bind(**owed["settings"])(o)
    won = o.outcome
    by = {a.name: int((won.by == i).sum()) for i, a in enumerate(o.book.attempts)}
    clean_area, area = naive.auroc(), knowing.auroc()
    return Line(
        name, text, said, len(x), (false, int(kept.sum())), int(naive.attacked_wrong.sum()), pair(naive.detected(target.threshold)),
        int(taken.sum()), int((taken & through).sum()), (clean_area.value, *clean_area.interval), int((won.by >= 0).sum()),
        (area.value, *area.interval), (int(won.standing.sum()), len(x)), by, cost(bare, target, x), time.process_time() - began,
        ANCHORS.get((name, text, said), ()),
    )  # fmt: skip


def last_points(target: Torch | Rejecting, x: Tensor, y: Tensor, eps: float, loss: str) -> Tensor:
    """Where 100 steps end that do not stop at a success."""
    o = Oracle(target, x, y, Threat("insider", Ball(eps)), settle="worst")
    pgd(steps=100, step=0.05, loss=loss)(o)
    return o.outcome.best


def answers(bare: Torch, target: Rejecting, x: Tensor, y: Tensor, points: Tensor) -> Answers:
    """Clean and attacked answers, with the detector's scores."""
    columns = [strange(target, x).double().numpy(), (bare.labels(x) != y).numpy(), strange(target, points).double().numpy()]
    return Answers(*columns, (bare.labels(points) != y).numpy())


def strange(target: Rejecting, x: Tensor) -> Tensor:
    """The detector's scores, with noise of the rows' own where it draws any."""
    draw = RowNoise(torch.arange(len(x)), 1, "benchmark") if target.randomised else None
    parts = torch.arange(len(x)).split(200)
    return torch.cat([target.strangeness(x[p], None if draw is None else draw.take(p)) for p in parts])


def cost(bare: Torch, target: Rejecting, x: Tensor) -> float:
    """CPU time of the answers over that of the bare model's, the median of turns."""
    draw = RowNoise(torch.arange(len(x)), 1, "benchmark") if target.randomised else None
    ratios: list[float] = []
    for _ in range(5):
        times: list[float] = []
        for ask in (lambda: bare.scores(x), lambda: target.scores(x, draw)):
            began = time.process_time()
            ask()
            times.append(time.process_time() - began)
        ratios.append(times[1] / times[0])
    return float(np.median(ratios))


def pair(share: Rate) -> tuple[int, int]:
    """Hits and rows."""
    return share.hits, share.rows


def checks(lines: list[Line]) -> list[Check]:
    """What is promised of every detector: the gap, and the budget."""
    found: list[Check] = []
    for line in lines:
        what = f"{line.data} at {line.eps}, {line.detector}"
        low = Rate(*line.rejected, 0.999).interval[0]
        found.append(Check("detection", f"{what}: clean rejection on fresh rows, lower end of its 99.9 % interval", low, 0.05))
        found.append(
            Check(
                "detection", f"{what}: undetected by the oblivious attack less those by adaptive ones", line.oblivious - line.adaptive, 0.0
            )
        )
    return found


def page(lines: list[Line], held: list[Check], told: dict[str, Any]) -> str:
    """The tables in Markdown."""
    head = (
        "detector", "clean rejected", "oblivious: area", "detected", "undetected success", "adaptive: area", "undetected success", "robust",
        "x a forward", "measured before",
    )  # fmt: skip
    text = ["# What detectors catch", "", f"Measured {told['date']} on {told['cpu']}, commit {told['commit']}, one thread.", ""]
    text += [(__doc__ or "").partition("\n\n")[2].strip().replace("\n", " "), ""]
    text += [
        "*detected*: of the oblivious points that fool the bare model, those rejected. *undetected success*: of the rows whose clean input is "
        "accepted, those answered wrongly and not rejected. *robust*: of all rows, those whose clean input is answered and that no attack broke. "
        "*measured before*: the same four figures on other networks of the kind, by other attacks (on MNIST, feature squeezing with 1 bit). "
        "The colour images are JPEG copies; never compare their levels with published ones.",
    ]
    for data, _, eps in WORLDS:
        some = [line for line in lines if (line.data, line.eps) == (data, eps)]
        if some:
            text += ["", f"## {data}, L-infinity {eps}, {some[0].n} rows, {some[0].fooled} fooled by the oblivious attack", ""]
            text += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            text += ["| " + " | ".join(cells(line)) + " |" for line in some]
    missed = [c for c in held if not c.holds]
    text += ["", f"{len(held) - len(missed)} of {len(held)} promises hold: the budget, and adaptive at least oblivious."]
    text += [f"* MISSED: {c.text}: {c.measured:.3g}, promised {c.promised:.3g}" for c in missed]
    return "\n".join([*text, ""])


def cells(line: Line) -> list[str]:
    """One row of the table."""
    area, knowing = (f"{a:.3f} [{low:.2f}, {high:.2f}]" for a, low, high in (line.area, line.adaptive_area))
    before = " / ".join("-" if v is None else f"{v:g}" for v in line.before)
    return [
        line.detector, Rate(*line.rejected).text(), area, Rate(*line.detected).text(), Rate(line.oblivious, line.accepted).text(), knowing,
        Rate(line.adaptive, line.accepted).text(), Rate(*line.robust).text(), f"{line.cost:.2f}", before,
    ]  # fmt: skip


def main() -> None:
    """Measure, and write lines of JSON and a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds reference.py, models and data")
    parser.add_argument("--n", type=int, default=ROWS, help="rows that are attacked")
    parser.add_argument("--only", default="", help="mnist or cifar")
    parser.add_argument("--detectors", default="", metavar="A,B", help="all by default; on colour images a few")
    told = about()
    parser.add_argument("--out", type=Path, default=RESULTS / f"{told['date']}-detection.md", metavar="FILE")
    given = parser.parse_args()
    one_thread()
    lines: list[Line] = []
    with given.out.with_suffix(".jsonl").open("w") as file:
        file.write(json.dumps(told) + "\n")
        for line in run(given.data, given.n, given.only, tuple(filter(None, given.detectors.split(",")))):
            lines.append(line)
            file.write(json.dumps({"kind": "detector"} | asdict(line)) + "\n")
            file.flush()
            print(line, flush=True)
            given.out.write_text(page(lines, checks(lines), told))


if __name__ == "__main__":
    main()
