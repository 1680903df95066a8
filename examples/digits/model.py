"""A small network for the handwritten digits that ship with scikit-learn: 8x8 pictures of 16 grey levels, ten classes.

The campaign file beside this one names `build`, `held_out` and `training`. Run this file to train the network the ordinary way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

HELD_OUT = 500


class Digits(nn.Module):
    """Two convolutions and two dense layers on pictures in [0, 1]; it normalises them itself, so that eps is in the picture's own units."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.3053))
        self.register_buffer("std", torch.tensor(0.3761))
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(48 * 16, 96), nn.ReLU(), nn.Linear(96, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features((x - self.mean) / self.std))


def build() -> nn.Module:
    """The network before training, always with the same weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Digits()


def held_out() -> dict[str, object]:
    """500 pictures that no training has seen: what an audit attacks."""
    return _rows(slice(0, HELD_OUT))


def training() -> dict[str, object]:
    """The other 1297."""
    return _rows(slice(HELD_OUT, None))


def _rows(part: slice) -> dict[str, object]:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))[part]
    pictures = (digits.images[order] / 16).astype(np.float32)[:, None]
    return {"x": pictures, "y": digits.target[order], "classes": [str(name) for name in digits.target_names], "name": "handwritten digits"}


def train(epochs: int = 15) -> nn.Module:
    """The network, trained the ordinary way: Adam and cross-entropy."""
    model, rows = build(), training()
    x, y = torch.as_tensor(rows["x"]), torch.as_tensor(rows["y"])
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    return model.eval()


if __name__ == "__main__":
    from safetensors.torch import save_file

    save_file(train().state_dict(), Path(__file__).parent / "standard.safetensors")
