"""A small problem that adversarial training can solve in seconds, and a model with all that makes resuming hard: dropout, batch statistics."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vauban.defences.training import Recipe

torch.set_num_threads(1)
EPS = 0.13


def stripes(n: int = 160) -> tuple[Tensor, Tensor]:
    """Pictures (n, 1, 4, 4) of three classes, told apart by one strong robust feature and, almost surely, by faint ones that eps covers."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    x = 0.5 + 0.04 * torch.randn(n, 1, 4, 4, generator=draw)
    x[torch.arange(n), 0, y, 0] += 0.4
    x[:, 0, :, 1:] += 0.05 * (y[:, None, None] - 1)
    return x.clamp(0, 1), y


class Net(nn.Module):
    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6, momentum=0.5), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(96, 3)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def net(dropout: float = 0.2) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net(dropout)


SHORT = Recipe(epochs=4, batch=32, lr=1e-2, held_out=0.3)


def recipe(**changes: object) -> Recipe:
    return replace(SHORT, **changes)  # type: ignore[arg-type]


def plainly_trained(epochs: int = 12, dropout: float = 0.0) -> nn.Module:
    """The network after ordinary training."""
    x, y = stripes()
    model = net(dropout)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        for _ in range(epochs * 4):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model.eval()
