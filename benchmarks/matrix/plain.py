"""Plain training of a small network, once: what is trained is kept in `.tuning/matrix`, so that every line stands on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

KEPT = Path(__file__).parents[2] / ".tuning" / "matrix"
BATCH = 64


def trained(name: str, model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """The model with weights of plain training: those that were kept under this name, or new ones."""
    file = KEPT / f"{name}.safetensors"
    if not file.is_file():
        _train(model, x, y, epochs)
        KEPT.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), file)
    model.load_state_dict(load_file(file))
    return model.eval()


def _train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()


def fresh(make: Callable[[], nn.Module]) -> nn.Module:
    """A network before training, always with the same weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()
