"""Small colour pictures in ten classes (CIFAR-10), and the small network that the matrix on them puts defences around.

The pictures are not in the repository: the environment variable VAUBAN_DATA names the folder that holds reference.py and its data.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from plain import fresh, trained
from torch import nn

from benchmarks.world import reference

PARTS = {"audit": slice(0, 100), "clean": slice(2000, 3000)}
EPOCHS = 8


def audit() -> dict[str, object]:
    """100 test pictures that are attacked."""
    return _rows("audit")


def clean() -> dict[str, object]:
    """1,000 other test pictures, which defences are fitted and calibrated on."""
    return _rows("clean")


def _rows(part: str) -> dict[str, object]:
    x, y = reference(_data()).data("cifar-std", "test")
    return {"x": x[PARTS[part]].numpy(), "y": y[PARTS[part]].numpy(), "classes": [str(c) for c in np.arange(10)], "name": "colour pictures"}


def network() -> nn.Module:
    """Two convolutions and two dense layers, before training (the layout of Wong and Kolter 2018, arXiv:1711.00851)."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


def standard() -> nn.Module:
    """The network, trained plainly."""
    return trained("colour-standard", fresh(network), *reference(_data()).data("cifar-std", "train"), EPOCHS)


def _data() -> Path:
    if "VAUBAN_DATA" not in os.environ:
        raise SystemExit("benchmarks: VAUBAN_DATA is not set; `python -m benchmarks.matrix colour --data DIR` sets it")
    return Path(os.environ["VAUBAN_DATA"])
