"""An attack of one's own in one file: a function that asks an oracle. The oracle counts, judges and remembers; the attack only tries.

    python examples/own_attack.py

In a campaign file it is named by its place: attack = [{ name = "own_attack.py:dark_spot", spots = 100 }].
"""

from __future__ import annotations

import torch
from torch import nn

import vauban
from vauban import Access, Ball, Threat
from vauban.attacks import attack
from vauban.doors import Oracle


@attack(Access.LABEL, on=("l0",), paper="this file")
def dark_spot(o: Oracle, spots: int = 50) -> None:
    """Blacken a random 2x2 spot of the picture, and look whether the answer changes."""
    height, width = o.x.shape[-2:]
    for _ in o.steps(spots):  # rows that have fallen are dropped between two steps, and the loop ends when none is left
        down, along = covered(o.noise.integers(height - 1, 1), height), covered(o.noise.integers(width - 1, 1), width)
        spot = down[:, None, :, None] & along[:, None, None, :]
        o.fooled(torch.where(spot, 0.0, o.x))


def covered(first: torch.Tensor, side: int) -> torch.Tensor:
    """Which places of a side are the first or the one after it, bool (rows, side)."""
    return (torch.arange(side) == first) | (torch.arange(side) == first + 1)


def brightest_quarter() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A model that says which quarter of a picture is brightest, and pictures in which one is, by a little."""
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    draw = torch.Generator().manual_seed(0)
    x, y = torch.rand(60, 1, 8, 8, generator=draw) * 0.5, torch.arange(60) % 4
    for row, quarter in enumerate(y.tolist()):
        top, left = 4 * (quarter // 2), 4 * (quarter % 2)
        x[row, 0, top : top + 4, left : left + 4] += 0.1
    return pool, x, y


if __name__ == "__main__":
    model, x, y = brightest_quarter()
    target = vauban.Torch(model, outputs="logits")
    record = vauban.audit(target, x, y, Threat("painter", Ball(4, "l0"), access=Access.LABEL), attacks=[dark_spot(spots=30)])
    finding = record["painter"]
    print(f"clean accuracy {finding.clean.text()}, under {finding.attacks[0].label} {finding.robust.text()}")
