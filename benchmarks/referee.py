"""The same judge for all sides: counts passes at the model itself, and looks at every adversarial input again."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.world import World

SLACK = 1e-5
"""What is forgiven outside the box or the radius: float32 arithmetic of any library."""


@dataclass
class Passes:
    """Rows that went forwards and backwards through the model."""

    forwards: int = 0
    backwards: int = 0


@contextmanager
def counted(*models: nn.Module) -> Generator[Passes]:
    """Count the rows that pass through any of the models, whoever calls them."""
    passes = Passes()

    def backward(gradient: Tensor) -> None:
        passes.backwards += len(gradient)

    def forward(_module: nn.Module, _args: Any, out: Tensor) -> None:
        passes.forwards += len(out)
        if out.requires_grad:
            out.register_hook(backward)

    handles = [model.register_forward_hook(forward) for model in models]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Judged:
    """What a side's inputs are worth. `robust`: share of rows still right within the radius. `median`: distance, failures counted as
    infinite. `success`: share of rows with a legal adversarial input at any distance. `illegal`: rows outside the box (or radius)."""

    robust: float | None
    success: float
    median: float | None
    illegal: int


@dataclass(frozen=True, eq=False)
class Struck:
    """Row by row: the distance, float64 (n,), and whether the input is legal and is also misclassified, bool (n,)."""

    distance: Tensor
    legal: Tensor
    fooled: Tensor


def struck(w: World, adversarial: Tensor, norm: float, eps: float | None) -> Struck:
    """Look at inputs (n, *shape) again: inside the box, within the radius (any, for None), and misclassified."""
    v = adversarial.detach().to(torch.float32).contiguous()
    distance = torch.linalg.vector_norm((v.double() - w.x.double()).flatten(1), ord=norm, dim=1)
    flat = v.flatten(1)
    legal = (flat.amin(1) >= -SLACK) & (flat.amax(1) <= 1 + SLACK)
    if eps is not None:
        legal &= distance <= eps + SLACK
    with torch.no_grad():
        wrong = w.bare(v.clamp(0, 1)).argmax(1) != w.y
    return Struck(distance, legal, legal & wrong)


def judged(w: World, adversarial: Tensor, norm: float, eps: float | None) -> Judged:
    """Judge inputs (n, *shape) against a radius, or (eps None) by their distance."""
    seen = struck(w, adversarial, norm, eps)
    success, illegal = float(seen.fooled.double().mean()), int((~seen.legal).sum())
    if eps is not None:
        return Judged(1 - success, success, None, illegal)
    known = torch.where(seen.fooled, seen.distance, math.inf).sort().values
    middle = float((known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2)
    return Judged(None, success, middle if math.isfinite(middle) else None, illegal)
