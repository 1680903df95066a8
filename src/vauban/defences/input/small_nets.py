"""Small networks from inputs to inputs, and the loop that trains them: for an autoencoder, and for a stand-in of a step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 64
Pairs = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Clean inputs and a source of noise, to what the network is given and what it should answer."""


class WithShortcut(nn.Module):
    """A network's output plus a linear map of its input, so that a step that changes little is learnt in little time."""

    def __init__(self, bent: nn.Module, straight: nn.Module) -> None:
        super().__init__()
        self.bent, self.straight = bent, straight

    def forward(self, x: Tensor) -> Tensor:
        return self.straight(x) + self.bent(x)


def convolutional(channels: int, answers: int, width: int) -> nn.Module:
    """Images to images with so many `answers` as channels: three convolutions beside a linear map of each pixel, at first the identity."""
    straight = nn.Conv2d(channels, answers, 1)
    bent = nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, padding_mode="replicate"),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, answers, 3, padding=1),
    )
    _as_identity(straight.weight.data.flatten(1), straight.bias)
    return _quiet(WithShortcut(bent, straight), bent[-1])


def dense(features: int, shape: tuple[int, ...], width: int) -> nn.Module:
    """Inputs of so many features to (n, *shape): a hidden layer beside a linear map, at first the identity where there are as many answers."""
    answers = math.prod(shape)
    straight = nn.Linear(features, answers)
    bent = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, answers))
    _as_identity(straight.weight.data, straight.bias)
    return nn.Sequential(nn.Flatten(), _quiet(WithShortcut(bent, straight), bent[-1]), nn.Unflatten(1, shape))


def _as_identity(weight: Tensor, bias: Tensor | None) -> None:
    if weight.shape[0] == weight.shape[1]:
        weight.copy_(torch.eye(len(weight)))
    if bias is not None:
        bias.data.zero_()


def _quiet(net: nn.Module, last: nn.Module) -> nn.Module:
    """The network with its bent part silent at first."""
    for parameter in last.parameters():
        parameter.data.mul_(0.1)
    return net


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network with the first weights of a seed; the caller's random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def trained(net: nn.Module, x: Tensor, pairs: Pairs, epochs: int, seed: int, rate: float = 2e-3) -> float:
    """Train a network on inputs (n, *shape) with Adam and freeze it; its mean squared error over the last epoch."""
    g = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    turns = epochs * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: min(1.0, 2 * (1 - t / turns) + 0.02))
    total = 0.0
    with torch.enable_grad():
        for _ in range(epochs):
            total = 0.0
            for rows in torch.randperm(len(x), generator=g).split(BATCH):
                given, wanted = pairs(x[rows], g)
                error = functional.mse_loss(net(given), wanted)
                optimiser.zero_grad()
                error.backward()
                optimiser.step()
                schedule.step()
                total += error.item() * len(rows)
    net.eval().requires_grad_(False)
    return total / len(x)
