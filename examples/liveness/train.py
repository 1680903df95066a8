"""Train the networks the ordinary way, on train.npz beside this file.

    python train.py [NAME ...] [--epochs N]

Each network's weights go into NAME.safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import models
import torch
from safetensors.torch import save_file
from torch import nn

from vauban.data import Rows, load_data

RATES = {"plain": 3e-3, "mobile": 6e-3, "mixer": 2e-3}


def train(model: nn.Module, rows: Rows, rate: float, epochs: int, batch: int = 32) -> nn.Module:
    """AdamW, one cycle of the learning rate, cross-entropy, and every picture mirrored half of the time."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * -(-len(rows) // batch))
    chance = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for some in torch.randperm(len(rows), generator=chance).split(batch):
            mirrored = torch.rand(len(some), 1, 1, 1, generator=chance) < 0.5
            x = torch.where(mirrored, rows.x[some].flip(3), rows.x[some])
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), rows.y[some]).backward()
            optimiser.step()
            cycle.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the liveness networks.")
    parser.add_argument("names", nargs="*", default=list(RATES), help="plain, mobile, mixer; by default all")
    parser.add_argument("--epochs", type=int, default=10)
    said = parser.parse_args()
    torch.set_num_threads(1)  # so small a network is slower on several
    here = Path.cwd()
    rows, test = load_data("train.npz", base=here), load_data("test.npz", base=here)
    for name in said.names:
        model = train(getattr(models, name)(), rows, RATES[name], said.epochs)
        with torch.no_grad():
            right = (model(test.x).argmax(1) == test.y).float().mean()
        save_file(model.state_dict(), here / f"{name}.safetensors")
        print(f"{name}: {sum(p.numel() for p in model.parameters()):,} parameters, {right:.1%} of the test rows right")


if __name__ == "__main__":
    main()
