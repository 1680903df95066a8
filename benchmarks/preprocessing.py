"""`python -m benchmarks.preprocessing --data DIR`: what preprocessing buys on colour images and on digits, against three attackers.

The same attacks on the same rows with three gradients: of the model behind the defence (*naive*: the attacker does not know of it), straight
through the step (*identity*), and through the stand-in that the defence names (*adaptive*). Rows are the first that the undefended model gets
right; a row that the defence itself loses counts as lost. Intervals are Wilson's, 95 %.
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

import torch
from torch import Tensor, nn

from benchmarks.__main__ import RESULTS, about
from benchmarks.comparison import Check
from benchmarks.measure import one_thread
from benchmarks.world import reference
from vauban.attacks import apgd, pgd
from vauban.defences import find
from vauban.defences.input.jpeg import Jpeg
from vauban.defences.input.own_step import Imitation
from vauban.defences.input.stand_in import trained_stand_in
from vauban.doors import Oracle
from vauban.measure import mcnemar, wilson
from vauban.target import Preprocessed, StraightThrough, Surrogate, Target, Torch, default_surrogate
from vauban.target.around import Worn, bare, put_on
from vauban.target.random_step import RandomStep
from vauban.threat import Ball, Threat, exact

NAME = "preprocessing"
ROWS, CLEAN, EPOCHS = 150, 1000, 8
DEFENCES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("jpeg", {"quality": 75}),
    ("jpeg", {"quality": 50}),
    ("jpeg", {"quality": 20}),
    ("bit-depth", {"bits": 3}),
    ("bit-depth", {"bits": 1}),
    ("median-smoothing", {"size": 2}),
    ("median-smoothing", {"size": 3}),
    ("gaussian-smoothing", {"sigma": 0.7}),
    ("total-variation", {"drop": 0.0}),
    ("total-variation", {"draws": 4}),
    ("pca", {"keep": 50}),
    ("pca", {"keep": 0.95}),
    ("feature-selection", {"keep": 0.5}),
    ("denoising-autoencoder", {}),
    ("random-resize-and-pad", {}),
)
IMITATED = 20
"""The quality of the JPEG that a network imitates, as if it were a step that nobody can differentiate."""


Known = frozenset[tuple[str, str, str]]
"""Data, defence and radius of what is measured already."""


@dataclass(frozen=True)
class Row:
    """One defence at one radius: how many of n rows stand; `naive`, `identity`, `adaptive` are nested in `clean`. None: it does not apply."""

    data: str
    defence: str
    eps: str
    n: int
    accuracy: float
    clean: int
    naive: int
    identity: int | None
    adaptive: int
    p_weaker: float
    millis: float
    fitted: float
    seconds: float


@dataclass(frozen=True)
class Ground:
    """A model, test rows to attack and to measure accuracy on, rows to fit defences on, and radii."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    held: tuple[Tensor, Tensor]
    radii: tuple[str, str]

    def right(self, n: int) -> tuple[Tensor, Tensor]:
        """The first n rows that the undefended model gets right."""
        with torch.no_grad():
            good = torch.cat([self.model(part) for part in self.x.split(200)]).argmax(1) == self.y
        return self.x[good][:n], self.y[good][:n]


def grounds(data: Path, only: str) -> Iterator[Ground]:
    source = reference(data)
    if only in "CIFAR-10":
        x, y = source.data("cifar-std", "test")
        yield Ground(
            "CIFAR-10", small_net(*source.data("cifar-std", "train")), x[:2000], y[:2000], (x[2000:], y[2000:]), ("2/255", "4/255")
        )
    if only in "MNIST":
        x, y = source.data("mnist-std", "test", 4000)
        yield Ground("MNIST", source.load("mnist-std"), x[:2000], y[:2000], (x[2000:], y[2000:]), ("0.1", "0.2"))


def small_net(x: Tensor, y: Tensor) -> nn.Module:
    """Two convolutions and two dense layers for 3 x 32 x 32 (the layout of Wong and Kolter 2018), some ten seconds on one thread."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=EPOCHS * -(-len(x) // 100))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(100):
            part = x[rows] if torch.rand(()) < 0.5 else x[rows].flip(3)
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(part), y[rows]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def defended(base: Target, ground: Ground, known: Known, names: tuple[str, ...]) -> Iterator[tuple[str, Target, float]]:
    """Every defence around the model that is not measured yet, and the CPU seconds that fitting it took."""
    for name, settings in DEFENCES:
        label = " ".join([name, *(f"{k} {v:g}" for k, v in settings.items())])
        if all((ground.name, label, eps) in known for eps in ground.radii) or (names and name not in names):
            continue
        began = time.process_time()
        made = find(name)(**settings).around(base, ground.held)
        yield label, made, time.process_time() - began
    label = f"jpeg quality {IMITATED}, imitated"
    if all((ground.name, label, eps) in known for eps in ground.radii) or (names and "imitated" not in names):
        return
    began = time.process_time()
    step = Jpeg(IMITATED)
    made = Preprocessed(step, base, backward=Imitation(trained_stand_in(step, ground.held[0], reach=exact(ground.radii[1]), epochs=10)))
    worn = Worn("imitated-step", {}, "input", "", "", "")
    yield label, put_on(made, base, worn), time.process_time() - began


def straight(target: Target) -> Surrogate | None:
    """The target seen straight through its step, where that is another gradient than its own."""
    if isinstance(target, Preprocessed):
        return StraightThrough(target.step, default_surrogate(target.target) or target.target)
    if isinstance(target, RandomStep) and not hasattr(target.step, "least"):  # resizing moves pixels: straight through it means nothing
        return RandomStep(target.step, target.target, draws=target.draws, differentiable=False).surrogate
    return None


def standing(target: Target, surrogate: Surrogate | None, x: Tensor, y: Tensor, eps: str) -> Tensor:
    """Which rows nothing broke, bool (n,)."""
    o = Oracle(target, x, y, Threat("insider", Ball(eps)), surrogate=surrogate, max_rows=50 if target.randomised else None)
    pgd(steps=20 if target.randomised else 40, loss="margin")(o)
    if not target.randomised:
        apgd(steps=60, loss="margin")(o)
    return ~o.outcome.broken


def accuracy(target: Target, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy, and CPU milliseconds a row beyond those of the model inside."""
    began = time.process_time()
    right = sum(int((target.labels(a) == b).sum()) for a, b in zip(x.split(100), y.split(100), strict=True))
    between = time.process_time()
    inner: Target = getattr(target, "undefended", None) or target
    for part in x.split(100):
        inner.labels(part)
    return right / len(x), 1e3 * (2 * between - began - time.process_time()) / len(x)


def measured(ground: Ground, label: str, target: Target, fitted: float, n: int, known: Known) -> Iterator[Row]:
    x, y = ground.right(n)
    share, millis = accuracy(target, ground.x[:CLEAN], ground.y[:CLEAN])
    clean = int((target.labels(x) == y).sum())
    for eps in ground.radii:
        if (ground.name, label, eps) in known:
            continue
        began = time.process_time()
        naive = standing(target, bare(target), x, y, eps)
        adaptive = standing(target, None, x, y, eps)
        through = straight(target)
        identity = None if through is None else int(standing(target, through, x, y, eps).sum())
        weaker, stronger = int((adaptive & ~naive).sum()), int((~adaptive & naive).sum())
        p = mcnemar(weaker, stronger) if weaker > stronger else 1.0
        took = time.process_time() - began
        yield Row(ground.name, label, eps, n, share, clean, int(naive.sum()), identity, int(adaptive.sum()), p, millis, fitted, took)


def run(data: Path, n: int, only: str = "", known: Known = frozenset(), names: tuple[str, ...] = ()) -> Iterator[Row]:
    """Every defence on both data sets, and the undefended model first; what is known is not measured again."""
    for ground in grounds(data, only):
        base = Torch(ground.model, outputs="logits")
        x, y = ground.right(n)
        share, _ = accuracy(base, ground.x[:CLEAN], ground.y[:CLEAN])
        for eps in ground.radii:
            if (ground.name, "none", eps) in known:
                continue
            began = time.process_time()
            left = int(standing(base, None, x, y, eps).sum())
            yield Row(ground.name, "none", eps, n, share, n, left, None, left, 1.0, 0.0, 0.0, time.process_time() - began)
        for label, target, fitted in defended(base, ground, known, names):
            yield from measured(ground, label, target, fitted, n, known)


def checks(rows: list[Row]) -> list[Check]:
    """The order in which JPEG falls on colour images, and that no adaptive attack is weaker than the naive one."""
    found = [
        Check(
            NAME,
            f"{r.data} {r.defence} at {r.eps}: chance that an adaptive attack no weaker than the naive one looks so",
            r.p_weaker,
            0.05,
            True,
        )
        for r in rows
    ]
    return found + [
        Check(NAME, f"{r.data} {r.defence} at {r.eps}: adaptive over identity", r.adaptive / r.identity, 0.7)
        for r in rows
        if r.data.startswith("CIFAR") and r.defence == "jpeg quality 20" and r.identity
    ]


def share(hits: int | None, n: int) -> str:
    """A percentage and its interval."""
    if hits is None:
        return ""
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def page(rows: list[Row], lines: list[Check], told: dict[str, Any]) -> str:
    """The table in Markdown."""
    head = ("data", "defence", "eps", "n", "accuracy", "clean", "naive", "identity", "adaptive", "ms a row", "fit, s", "attacks, s")
    text = ["# What preprocessing buys", "", f"Measured {told['date']} on {told['cpu']}, commit {told['commit']}, one thread.", ""]
    text += [(__doc__ or "").partition("\n\n")[2].strip().replace("\n", " "), ""]
    text += [
        "*accuracy*: of the defended model on 1,000 test rows, in per cent. *clean*, *naive*, *identity*, *adaptive*: per cent of the n rows "
        "that stand with no attack and against each attacker. Attacks: PGD-40 and APGD-60 on the margin (PGD-20 alone where the defence is "
        "random). The colour images are JPEG copies (quality 75), and the net is a small one: the table shows the order of attacks.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for r in rows:
        cells = [r.data, r.defence, r.eps, str(r.n), f"{100 * r.accuracy:.1f}"]
        cells += [share(v, r.n) for v in (r.clean, r.naive, r.identity, r.adaptive)]
        text.append("| " + " | ".join([*cells, f"{r.millis:.2f}", f"{r.fitted:.1f}", f"{r.seconds:.0f}"]) + " |")
    missed = [c for c in lines if not c.holds]
    text += ["", f"{len(lines) - len(missed)} of {len(lines)} promises hold."]
    text += [f"* MISSED: {c.text}: {c.measured:.3g}, promised {c.promised:.3g}" for c in missed]
    return "\n".join([*text, ""])


def main() -> None:
    """Measure, and write lines of JSON and a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preprocessing", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds reference.py, models and data")
    parser.add_argument("--n", type=int, default=ROWS, help="rows that are attacked")
    parser.add_argument("--only", default="", help="CIFAR or MNIST")
    parser.add_argument("--defences", type=lambda text: tuple(text.split(",")), default=(), metavar="A,B", help="by name, or imitated")
    parser.add_argument("--fresh", action="store_true", help="measure again what the file holds already")
    told = about()
    parser.add_argument("--out", type=Path, default=RESULTS / f"{told['date']}-preprocessing.md", metavar="FILE")
    given = parser.parse_args()
    one_thread()
    file = given.out.with_suffix(".jsonl")
    rows = [] if given.fresh else before(file, given.n)
    with file.open("w") as lines:
        lines.write(json.dumps(told) + "\n")
        lines.writelines(json.dumps({"kind": "row"} | asdict(row)) + "\n" for row in rows)
        for row in run(given.data, given.n, given.only, frozenset((r.data, r.defence, r.eps) for r in rows), given.defences):
            rows.append(row)
            lines.write(json.dumps({"kind": "row"} | asdict(row)) + "\n")
            lines.flush()
            print(row, flush=True)
    rows.sort(key=lambda r: r.data)
    given.out.write_text(page(rows, checks(rows), told))


def before(file: Path, n: int) -> list[Row]:
    """The rows that an earlier run, which may have been cut off, left behind."""
    if not file.is_file():
        return []
    lines = map(json.loads, file.read_text().splitlines())
    return [Row(**{k: v for k, v in line.items() if k != "kind"}) for line in lines if line["kind"] == "row" and line["n"] == n]


if __name__ == "__main__":
    main()
