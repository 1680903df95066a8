"""Models that Vauban trains for these comparisons: trained once, kept in `.tuning/`, and gone on with where a run was interrupted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.world import reference
from vauban.defences.training import Hardened, Recipe, Tick, find, harden
from vauban.target import Torch
from vauban.threat import Ball, Threat

FOLDER = Path(__file__).parents[1] / ".tuning"
HELD = 5_000
"""Training rows that are held out: schedules are chosen on them, and the best epoch on some of them. Test rows are only reported."""


@dataclass(frozen=True)
class Spec:
    """A model of the reference architecture for MNIST and how it is trained.

    Attributes:
        method, settings: the way of training.
        eps: of the L-infinity threat.
        recipe: everything else.
        rows: how many rows are trained on; all but the held-out ones by default.
        spare: outputs more than there are classes, for rejection.
    """

    method: str
    eps: float
    recipe: Recipe
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rows: int | None = None
    spare: int = 0

    def text(self) -> str:
        """For a table."""
        told = ", ".join(f"{k} {v:g}" for k, v in self.settings.items())
        return f"{self.method}{f' ({told})' if told else ''}, {self.recipe.epochs} epochs, ramp {self.recipe.ramp:g}, lr {self.recipe.lr:g}"


def network(data: Path, spare: int = 0) -> nn.Module:
    """The reference network for MNIST, before training."""
    model: Any = reference(data).MnistCNN()
    if spare:
        model.fc2 = nn.Linear(model.fc2.in_features, model.fc2.out_features + spare)
    return model


def digits(data: Path, split: str, n: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows of MNIST: float32 (n, 1, 28, 28) in [0, 1] and int64 (n,)."""
    return reference(data).data("mnist-std", split, n)


def target_of(model: nn.Module, spec: Spec) -> Torch:
    """The model as it is attacked."""
    return Torch(model.eval(), outputs="logits", reject=10 if spec.spare else None)


def trained(name: str, spec: Spec, data: Path, folder: Path = FOLDER) -> tuple[Torch, Hardened, float]:
    """The model, what its training told, and the CPU seconds that this call took: next to none where it was trained before."""
    x, y = digits(data, "train")
    began = time.process_time()
    torch.manual_seed(spec.recipe.seed)
    model = network(data, spec.spare)
    target = target_of(model, spec)

    def tell(tick: Tick) -> None:
        e = tick.measured
        if e is not None:
            own = "" if e.chosen is None else f" {e.chosen_by} {e.chosen:.3f}"
            print(f"{name} {e.number}: clean {e.clean:.3f} pgd {e.pgd:.3f}{own}, {time.process_time() - began:.0f} CPU s", flush=True)

    rows = (x[:-HELD][: spec.rows], y[:-HELD][: spec.rows])
    held = (x[-HELD:], y[-HELD:])
    method = find(spec.method).bind(**spec.settings)
    done = harden(
        target, rows, Threat(name, Ball(spec.eps)), None, spec.recipe, method=method, held_out=held, checkpoint=folder / name, progress=tell
    )  # fmt: skip
    model.eval()
    return target, done, time.process_time() - began
