"""Handwritten digits, 8 x 8, that ship with scikit-learn, in three parts; and the small networks that the matrix on them defends."""

from __future__ import annotations

import numpy as np
import torch
from plain import fresh, trained
from sklearn.datasets import load_digits
from torch import nn

from vauban.defences.ensembles.together import Together

PARTS = {"audit": slice(0, 200), "clean": slice(200, 600), "train": slice(600, None)}
EPOCHS = 15


def audit() -> dict[str, object]:
    """200 digits that are attacked, and nothing else is done with them."""
    return _rows("audit")


def clean() -> dict[str, object]:
    """400 digits that defences are fitted and calibrated on."""
    return _rows("clean")


def train() -> dict[str, object]:
    """The other 1197."""
    return _rows("train")


def _rows(part: str) -> dict[str, object]:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))[PARTS[part]]
    pictures = (digits.images[order] / 16).astype(np.float32)[:, None]
    return {"x": pictures, "y": digits.target[order], "classes": [str(name) for name in digits.target_names], "name": "digits"}


def network(outputs: int = 10) -> nn.Module:
    """Two convolutions and two dense layers, before training."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, outputs),
    )  # fmt: skip


def pooled() -> nn.Module:
    """Another architecture: wider filters, pooling, GELU."""
    return nn.Sequential(nn.Conv2d(1, 24, 5, padding=2), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 10))


def dense() -> nn.Module:
    """A third one: no convolution at all."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))


def untrained() -> nn.Module:
    """What ways of training begin with, always the same weights."""
    return fresh(network)


def rejecting_untrained() -> nn.Module:
    """The same with an eleventh output, for rejection."""
    return fresh(lambda: network(11))


def team_untrained() -> nn.Module:
    """Three networks of different architecture that answer as one."""
    return fresh(lambda: Together([network(), pooled(), dense()]))


def standard() -> nn.Module:
    """The network, trained plainly."""
    return _trained("standard", untrained())


def rejecting() -> nn.Module:
    """The network with an eleventh output, trained plainly: it has never seen anything to reject."""
    return _trained("rejecting", rejecting_untrained())


def team() -> nn.Module:
    """The three networks, each trained plainly."""
    whole = team_untrained()
    for place, member in enumerate(whole.members):
        _trained(f"member-{place}", member)
    return whole


def sharpened(x: np.ndarray) -> np.ndarray:
    """A step of somebody's own, which `own-step` and `imitated-step` put before the network: six levels of grey, and no gradient."""
    return (x * 5).round() / 5


def _trained(name: str, model: nn.Module) -> nn.Module:
    rows = train()
    return trained(f"digits-{name}", model, torch.as_tensor(rows["x"]), torch.as_tensor(rows["y"]), EPOCHS)
