"""Classifiers whose smoothed answer is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from vauban.target import Torch

torch.set_num_threads(1)


class Counted(nn.Module):
    """A model that remembers the largest batch and how many rows it saw."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.largest, self.rows = inner, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.largest, self.rows = max(self.largest, len(x)), self.rows + len(x)
        return self.inner(x)


@dataclass(frozen=True)
class Half:
    """A half-space in d dimensions: the smoothed classifier's radius is the distance of the boundary, whatever the noise's sigma.

    Attributes:
        target, model: the classifier; class 0 where w x + b > 0.
        x, y: rows with their true classes.
        distance: of the boundary, float64 (n,), in the norm that was asked for.
    """

    target: Torch
    model: Counted
    x: Tensor
    y: Tensor
    distance: Tensor


@pytest.fixture
def half() -> Callable[..., Half]:
    """`half(norm, rows, features)`: with a slanted boundary for L2, an axis for L1, a diagonal for L-infinity."""

    def made(norm: float = 2.0, rows: int = 100, features: int = 12, seed: int = 0) -> Half:
        g = torch.Generator().manual_seed(seed)
        w = {2.0: torch.randn(features, generator=g), 1.0: torch.eye(features)[0], float("inf"): torch.ones(features)}[norm]
        line = nn.Linear(features, 2)
        line.weight.data.copy_(torch.stack([w, -w]))
        line.bias.data.copy_(torch.tensor([0.1, -0.1]))
        x = torch.randn(rows, features, generator=g)
        lead = (x.double() @ w.double()) + 0.1
        dual = {2.0: w.double().norm(), 1.0: w.double().abs().max(), float("inf"): w.double().abs().sum()}[norm]
        model = Counted(line)
        return Half(Torch(model, outputs="logits"), model, x, (lead < 0).long(), lead.abs() / dual)

    return made
