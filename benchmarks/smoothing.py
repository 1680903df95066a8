"""Certified accuracy of a smoothed MNIST model: samples as many as each answer takes against 100,000 for each, what that costs over the passes
themselves, and the memory of one image's certificate.

The model is trained here with Gaussian noise, as in Cohen et al. 2019, and kept in `.tuning/`; rows are of the test split.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.comparison import Check
from benchmarks.memory import peak_mib
from benchmarks.options import Options
from benchmarks.world import reference
from vauban.defences.smoothing import Outcome, Smoothed, certify, certify_fixed
from vauban.target import Torch
from vauban.threat import Ball

NAME = "smoothing"
SIGMA, ALPHA, MOST = 0.5, 0.001, 100_000
RADII = (0.25, 0.5, 0.75, 1.0)
CAP = 1.5
"""Three sigma: a quarter of the noise's own limit away from what 100,000 samples can certify at all."""
ROWS, FIXED, TIMED, TURNS = 400, 40, 5, 5
"""Rows for the sequential certificates (an eighth of them at the cap), those of them that get the fixed number too, and of which every how many
is timed beside bare loops; how often sequential certificates and bare loops take turns."""
EPOCHS, BATCH = 3, 128
KEPT = Path(__file__).parents[1] / ".tuning"


def trained(data: Path) -> nn.Module:
    """The reference net, trained with noise of sigma; from `.tuning/` where it was trained before. Seconds."""
    file = KEPT / f"smoothing-{SIGMA:g}.safetensors"
    model = type(reference(data).load("mnist-std"))()
    if file.is_file():
        model.load_state_dict(load_file(file))
        return model.eval()
    x, y = reference(data).data("mnist-std", "train", 60_000)
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = type(model)()
    optimiser = torch.optim.Adam(model.parameters())
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=g)[: steps // EPOCHS * BATCH].split(BATCH):
            optimiser.zero_grad()
            noisy = x[rows] + SIGMA * torch.randn(len(rows), *x.shape[1:], generator=g)
            functional.cross_entropy(model(noisy), y[rows]).backward()
            optimiser.step()
            schedule.step()
    KEPT.mkdir(exist_ok=True)
    save_file(model.state_dict(), file)
    return model.eval()


def bare_loop(model: nn.Module, x: Tensor, samples: int, batch: int = 256) -> Tensor:
    """The loop anyone would write for one row: noise, a pass, a count."""
    votes = torch.zeros(10, dtype=torch.int64)
    with torch.no_grad():
        for _ in range(samples // batch):
            noisy = x + SIGMA * torch.randn(batch, *x.shape)
            votes += torch.bincount(model(noisy).argmax(1), minlength=10)
    return votes


def passes_alone(model: nn.Module, x: Tensor, samples: int, batch: int = 256) -> None:
    """The passes of that loop over noise that is there already."""
    noisy = x + SIGMA * torch.randn(batch, *x.shape)
    with torch.no_grad():
        for _ in range(samples // batch):
            model(noisy)


def cpu(run: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """Everything, the sequential certificates of each radius in turn with bare loops."""
    model = trained(o.data)
    x, y = reference(o.data).data("mnist-std", "test", 10_000)
    pick = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    rows = o.rows(ROWS)
    x, y = x[pick[:rows]], y[pick[:rows]]
    smoothed = Smoothed(Torch(model, outputs="logits"), SIGMA)
    few = min(FIXED // 5 if o.quick else FIXED, rows)
    fixed, ratio = at_fixed(smoothed, model, x[:few], y[:few])
    found = [
        Check(NAME, f"fixed {MOST:,} samples, {few} rows: CPU time over the bare loop (noise, pass, count)", ratio[0], 1.1),
        Check(NAME, f"fixed {MOST:,} samples, {few} rows: CPU time over the passes alone (for information)", ratio[1]),
    ]
    for radius in (*RADII, CAP):
        part = len(x) // 8 if radius == CAP else len(x)
        found += at_radius(smoothed, model, x[:part], y[:part], radius, fixed)
    lines = [one_image(who, o) for who in ("vauban", "by hand", "art")]
    return lines, [*found, *memory_checks(lines)]


def at_fixed(smoothed: Smoothed, model: nn.Module, x: Tensor, y: Tensor) -> tuple[dict[int, Outcome], tuple[float, float]]:
    """The fixed number for each row; CPU time over the bare loop, and over the passes alone, the median of rows, measured in turns."""
    found: dict[int, Outcome] = {}
    loops, passes = [], []
    for i in range(len(x)):
        timed = i % TIMED == 0
        loop, alone = (5 * cpu(partial(f, model, x[i], MOST // 5)) if timed else math.nan for f in (bare_loop, passes_alone))
        began = time.process_time()
        (outcome,) = certify_fixed(smoothed, x[i : i + 1], y[i : i + 1], samples=MOST, alpha=ALPHA, ids=torch.tensor([i]))
        spent = time.process_time() - began
        found[i] = outcome
        loops += [spent / loop] * timed
        passes += [spent / alone] * timed
    return found, (median(loops), median(passes))


def at_radius(smoothed: Smoothed, model: nn.Module, x: Tensor, y: Tensor, radius: float, fixed: dict[int, Outcome]) -> list[Check]:
    """Sequential certificates of all rows at one radius: samples, agreement with the fixed number, CPU time."""
    found: dict[int, Outcome] = {}
    ratios: list[float] = []
    for _ in range(TURNS):
        before = cpu(lambda: bare_loop(model, x[0], 25_600)) / 25_600
        began = time.process_time()
        found = {o.row: o for o in certify(smoothed, x, y, Ball(radius, 2), alpha=ALPHA, most=MOST)}
        spent = time.process_time() - began
        after = cpu(lambda: bare_loop(model, x[0], 25_600)) / 25_600
        ratios.append(spent / (sum(o.samples for o in found.values()) * (before + after) / 2))
    taken = np.array([o.samples for o in found.values()])
    share = sum(o.verdict == "certified" for o in found.values()) / len(x)
    both = [(found[i].verdict == "certified", (o.radius or 0) >= radius) for i, o in fixed.items() if i in found]
    lost = 100 * (sum(b for _, b in both) - sum(a for a, _ in both)) / len(both)
    least = 30 if radius <= 2 * SIGMA else 6
    open_ = sum(o.verdict == "undecided" for o in found.values())
    spread = f"median {np.median(taken):.0f}, 95% {np.percentile(taken, 95):.0f}"
    said = f"r = {radius:g}, {len(x)} rows, {share:.1%} certified, {open_} undecided, mean {taken.mean():.0f} samples ({spread})"
    return [
        Check(NAME, f"{said}: times fewer than {MOST:,}", MOST / float(taken.mean()), least, at_least=True),
        Check(NAME, f"r = {radius:g}, {len(both)} rows with both: points of certified accuracy lost to the fixed number", lost, 0.3),
        Check(
            NAME,
            f"r = {radius:g}: CPU time over the bare loop of as many samples, the median of {TURNS} turns",
            median(ratios),
            1.1,
        ),
    ]


# ---- one image, each in a process of its own ---------------------------------------------------------------------------------------------


def one_image(who: str, o: Options) -> dict[str, Any]:
    """CPU seconds and growth of peak memory of one image's certificate with the fixed number."""
    command = [sys.executable, "-m", "benchmarks.smoothing", "--child", who, "--data", str(o.data)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        why = (ended.stderr.strip().splitlines() or ["died"])[-1][:160]
        return {"kind": "memory", "what": f"{who}: {why}", "mib": math.nan, "over": math.nan, "seconds": math.nan}
    got = json.loads(ended.stdout.strip().splitlines()[-1])
    return {"kind": "memory", "what": f"{who}: certificate of one image, {MOST:,} samples", **got}


def child(who: str, data: Path) -> dict[str, float]:
    """The life of one such process: everything is loaded and warmed up before the clock and the memory are read."""
    torch.set_num_threads(1)
    model = trained(data)
    x, y = reference(data).data("mnist-std", "test", 1)
    bare_loop(model, x[0], 2560)
    work: dict[str, Callable[[int], Callable[[], object]]] = {
        "vauban": lambda n: lambda: list(certify_fixed(Smoothed(Torch(model, outputs="logits"), SIGMA), x, y, samples=n, alpha=ALPHA)),
        "by hand": lambda n: lambda: bare_loop(model, x[0], n),
        "art": lambda n: art(model, x, n),
    }
    cpu(work[who](1000))
    before = peak_mib()
    seconds = cpu(work[who](MOST))
    return {"mib": peak_mib(), "over": peak_mib() - before, "seconds": seconds}


def art(model: nn.Module, x: Tensor, samples: int) -> Callable[[], object]:
    """ART's certificate at its fastest batch of 256. It imports statsmodels for one quantile, which stands in here."""
    from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
    from scipy.stats import beta

    def interval(k: int, n: int, alpha: float, method: str) -> tuple[float, float]:
        return float(beta.ppf(alpha / 2, k, n - k + 1)), 1.0

    module = types.ModuleType("statsmodels.stats.proportion")
    module.proportion_confint = interval  # type: ignore[attr-defined]
    for name in ("statsmodels", "statsmodels.stats"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["statsmodels.stats.proportion"] = module
    shell = PyTorchRandomizedSmoothing(
        model, nn.CrossEntropyLoss(), (1, 28, 28), 10, device_type="cpu", sample_size=100, scale=SIGMA, alpha=ALPHA
    )  # fmt: skip
    return lambda: shell.certify(x.numpy(), n=samples, batch_size=256)


def memory_checks(lines: Sequence[dict[str, Any]]) -> list[Check]:
    """Growth while a certificate is made; and what ART takes."""
    by = {line["what"].partition(":")[0]: line for line in lines}
    ours, theirs, hand = (by[name] for name in ("vauban", "art", "by hand"))
    return [
        Check(NAME, f"one image, {MOST:,} samples: MiB of peak memory over what was loaded", ours["over"], 16),
        Check(NAME, "one image: MiB of ART's certificate over what was loaded (for information)", theirs["over"]),
        Check(NAME, "one image: ART's CPU time over ours (for information)", theirs["seconds"] / ours["seconds"]),
        Check(NAME, "one image: our CPU time over the bare loop's (for information)", ours["seconds"] / hand["seconds"]),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    print(json.dumps(child(given.child, given.data)))
