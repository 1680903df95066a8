"""Two blobs in twelve dimensions, a linear boundary between them, and twists of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import fgsm, pgd
from vauban.campaign.record import Finding
from vauban.target import Target
from vauban.threat import Ball, Threat

torch.set_num_threads(1)
N = 120
Twist = Callable[[Tensor], Tensor]


def blobs(n: int = N, d: int = 12) -> tuple[Tensor, Tensor]:
    """Inputs (n, d) around 0.35 and 0.65, and their classes."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    x = torch.rand(n, d, generator=g) * 0.3 + 0.2 + 0.3 * y[:, None]
    return x, y


class Honest(nn.Module):
    """A linear boundary between the blobs."""

    def forward(self, x: Tensor) -> Tensor:
        z = 8 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-z, z], 1)


class Wrapped(nn.Module):
    """An honest model with a twist of its scores or inputs."""

    def __init__(self, before: Twist = lambda x: x, after: Twist = lambda z: z) -> None:
        super().__init__()
        self.inner, self.before, self.after = Honest(), before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)))


@pytest.fixture
def rows() -> tuple[Tensor, Tensor]:
    return blobs()


@pytest.fixture
def honest() -> nn.Module:
    return Honest()


@pytest.fixture
def wrapped() -> type[Wrapped]:
    return Wrapped


@pytest.fixture
def found() -> Callable[..., Finding]:
    """The finding of an audit of the blobs within eps of L-infinity, by one step and ten, unless said otherwise."""

    def run(model: nn.Module | Target, eps: float = 0.05, *, data: tuple[Tensor, Tensor] | None = None, **options: Any) -> Finding:
        target = vauban.Torch(model, outputs="logits") if isinstance(model, nn.Module) else model
        x, y = data or blobs()
        options = {"attacks": [fgsm(), pgd(steps=10)], "threats": Threat("t", Ball(eps)), **options}
        return vauban.audit(target, x, y, **options)["t"]

    return run


@pytest.fixture
def names(found: Callable[..., Finding]) -> Callable[..., set[str]]:
    """The names of its doubts."""

    def run(*args: Any, **options: Any) -> set[str]:
        return {d.name for d in found(*args, **options).doubts}

    return run
