"""Small models for tests of detectors: one whose features are the input itself, and one that was trained on the digits of scikit-learn."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from vauban.target import Torch

CLASSES = 10


def plain(d: int, classes: int, seed: int = 0) -> Torch:
    """A linear classifier of vectors (n, d): its penultimate features are the inputs."""
    g = torch.Generator().manual_seed(seed)
    layer = nn.Linear(d, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, d, generator=g) * 3)
        layer.bias.copy_(-layer.weight.sum(1) / 2)  # the middle of the box is undecided
    return Torch(nn.Sequential(nn.Flatten(), layer), outputs="logits", name="plain")


@cache
def digits() -> tuple[Torch, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A network of one hidden layer, clean rows to fit and calibrate detectors on, and rows to attack: images (n, 1, 8, 8) in [0, 1]."""
    found = load_digits()
    x, y = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(200):
            some = torch.randint(0, 1000, (128,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[some]), y[some]).backward()
            optimiser.step()
    target = Torch(model.eval(), outputs="logits", name="digits")
    right = target.labels(x[1500:]) == y[1500:]
    return target, (x[1000:1500], y[1000:1500]), (x[1500:][right][:40], y[1500:][right][:40])
