"""An audit as a test: the build fails when the model withstands less than was promised.

pytest examples/pytest_gate.py
"""

from __future__ import annotations

import torch
from torch import nn

import vauban
from vauban import Ball, Threat


def model_and_rows() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Your model and your held-out rows; here, two clouds of points and the line between them."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = (0.3 + 0.4 * y[:, None] + 0.05 * torch.randn(200, 2, generator=draw)).clamp(0, 1)
    line = nn.Linear(2, 2)
    with torch.no_grad():
        line.weight.copy_(torch.tensor([[-10.0, -10.0], [10.0, 10.0]]))
        line.bias.copy_(torch.tensor([10.0, -10.0]))
    return line, x, y


def test_an_insider_is_withstood() -> None:
    model, x, y = model_and_rows()
    insider = Threat("insider", Ball(0.05))
    record = vauban.audit(model, x, y, insider, suite="quick", promises={"insider": {"robust_accuracy": 0.9, "clean_accuracy": 0.95}})
    assert record.holds, record["insider"].robust.text()
