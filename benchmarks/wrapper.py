"""`python -m benchmarks.wrapper`: what a defence around a target costs over the sum of its parts.

The parts of a step before the model are the step and the model; of members that answer as one, the members; of a detector, its look at the input, the
model among it, and its score of what it saw. Both sides take turns on the same pictures, in CPU time of one thread; the model is a convolutional
network for 32 x 32 colour pictures, trained for a moment to tell ten patterns apart: what it costs does not depend on what it knows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn

from benchmarks.__main__ import measured_on
from benchmarks.measure import cpu_seconds, one_thread
from vauban.defences import DEFENCES
from vauban.defences.detection.rejecting import Plain, Rejecting
from vauban.defences.ensembles.together import Together
from vauban.noise import RowNoise
from vauban.target import Committee, Preprocessed, Target, Torch

ROWS, TURNS, MOST = 100, 25, 1.05
OTHERS = ("own-step", "imitated-step", "randomised-smoothing")
"""Steps of the user's own; and a vote of many noisy passes, whose cost is `smoothing.py`'s."""


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds of the defended target and of its parts, and their ratio: medians over turns."""

    defence: str
    whole: float
    parts: float
    ratio: float


def pictures(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One of ten patterns each, under noise: float32 (n, 3, 32, 32) and int64 (n,)."""
    patterns = torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1 + seed)
    y = torch.arange(n) % 10
    return 0.5 * patterns[y] + 0.5 * torch.rand(n, 3, 32, 32, generator=draw), y


def network(seed: int) -> nn.Module:
    """A network whose pass over 100 pictures takes some tens of milliseconds."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 64, 10),
    )  # fmt: skip
    optimiser, (x, y) = torch.optim.Adam(model.parameters(), 1e-3), pictures(200, 0)
    for _ in range(20):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


def parts_of(target: Target, x: torch.Tensor, draw: RowNoise) -> Callable[[], object] | None:
    """What runs the parts of a defended target by themselves; None where it has others."""
    if isinstance(target, Rejecting):
        detector, inner = target.detector, Plain(target.target)

        def looked() -> object:
            with torch.no_grad():
                return detector.strangeness(detector.look(inner, x, draw))

        return looked
    if isinstance(target, Committee):
        return lambda: [m.scores(x, draw) for m in target.members]
    if isinstance(target, Preprocessed):

        def stepped() -> object:
            with torch.no_grad():
                return target.target.scores(target.step(x), draw)

        return stepped
    return None


def cost(name: str) -> Cost | None:
    """One defence."""
    recipe = DEFENCES[name]
    team = recipe.facts.family == "ensemble" or name == "disagreement"
    model = Torch(Together([network(i) for i in range(3)]) if team else network(0), outputs="log-probabilities" if team else "logits")
    if name == "disagreement":
        model = DEFENCES["average"]().around(model)
    target = recipe().around(model, pictures(400, 1) if recipe.facts.fits else None)
    x, _ = pictures(ROWS, 2)
    noise = RowNoise(torch.arange(ROWS), 0)
    parts = parts_of(target, x, noise)
    if parts is None:
        return None
    with target.held():
        target.scores(x, noise), parts()
        turns = [(cpu_seconds(lambda: target.scores(x, noise)), cpu_seconds(parts)) for _ in range(TURNS)]
    return Cost(name, 1e3 * median(w for w, _ in turns), 1e3 * median(p for _, p in turns), median(w / p for w, p in turns))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=sorted(DEFENCES))
    parser.add_argument("--out", type=Path, default=None)
    said = parser.parse_args()
    one_thread()
    found: list[Cost] = []
    lines = ["| defence | ms of the target | ms of its parts | over its parts | at most |", "|---|---|---|---|---|"]
    for name in said.only or sorted(DEFENCES.keys() - set(OTHERS)):
        made = cost(name)
        if made is not None:
            found.append(made)
            verdict = "holds" if made.ratio <= MOST else "MISSED"
            lines.append(f"| {name} | {made.whole:.1f} | {made.parts:.1f} | {made.ratio:.3f} | {MOST:.2f}: {verdict} |")
            print(lines[-1], flush=True)
    if said.out:
        head = ["# What a defence costs over its parts", "", measured_on(), "", f"{ROWS} pictures at once, {TURNS} turns.", ""]
        said.out.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
        said.out.with_suffix(".jsonl").write_text("".join(json.dumps(asdict(c)) + "\n" for c in found), encoding="utf-8")
    return 0 if all(c.ratio <= MOST for c in found) else 1


if __name__ == "__main__":
    sys.exit(main())
