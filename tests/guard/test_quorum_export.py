"""What `vauban harden --export` writes can be signed and served, and is answered as PyTorch answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny_models import tiny_rows
from torch import nn

from vauban.guard.quorum.calibrate import Asked, sign
from vauban.guard.quorum.manifest import Manifest
from vauban.guard.quorum.model import load
from vauban.target import Torch
from vauban.target.onnx_export import export_onnx

KEY = Ed25519PrivateKey.generate()


class Bright(nn.Module):
    """A small network whose first number rises with brightness."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slope = x.mean((1, 2, 3)) if x.dim() == 4 else x
        return self.body(x) + 30 * torch.stack([slope, -slope], 1) * torch.tensor([1.0, 0.0])


@pytest.mark.parametrize("within", [True, False])
def test_an_exported_model_is_served_as_it_answers(tmp_path: Path, within: bool) -> None:
    """With the normalisation inside the file, as our export writes it, or told in the manifest."""
    model, rows = Bright().eval(), tiny_rows()
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    x = torch.from_numpy(rows.levels((24, 24))).permute(0, 3, 1, 2).float() / 255
    normalised = Torch(model, outputs="logits", mean=mean, std=std)
    export_onnx(normalised if within else Torch(model, outputs="logits"), x, tmp_path / "model.onnx")
    asked = Asked("model", "convolutional", mean=None if within else mean, std=None if within else std)
    manifest = sign(tmp_path / "model.onnx", rows, asked, KEY)
    assert isinstance(manifest, Manifest)
    assert (manifest.input.name, manifest.output.name, manifest.size) == ("x", "output", (24, 24))
    with torch.no_grad():
        z = normalised.scores(x).double()
    served = load(manifest, tmp_path).scores(rows.levels((24, 24)))
    assert np.abs(served - (z[:, 0] - z[:, 1]).numpy()).max() < 1e-3
