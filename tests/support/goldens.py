"""A tiny convolutional network with weights in closed form, and what a handful of attacks do to it: the facts that golden files hold."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Goal, Perturbation, Threat, Transformations

FILE = Path(__file__).parent.parent / "golden" / "attacks.json"
ROWS = 6

CASES: dict[str, tuple[str, dict[str, object], Perturbation, Goal]] = {
    "fgsm, Linf": ("fgsm", {}, Ball(0.1), Goal()),
    "pgd, Linf": ("pgd", {"steps": 8, "restarts": 2}, Ball(0.06), Goal()),
    "pgd, L1, wanted": ("pgd", {"steps": 12, "loss": "margin"}, Ball(6, "l1"), Goal(wanted=2)),
    "mi-fgsm, L2": ("mi-fgsm", {"steps": 8, "loss": "dlr"}, Ball(0.6, "l2"), Goal()),
    "deepfool, L2": ("deepfool", {}, Ball(4, "l2"), Goal()),
    "ddn, L2": ("ddn", {"steps": 30}, Ball(4, "l2"), Goal()),
    "fmn, L0": ("fmn", {"steps": 20}, Ball(40, "l0"), Goal()),
    "cw, L2": ("cw-l2", {"steps": 30, "searches": 4, "rate": 0.02, "constant": 1.0}, Ball(4, "l2"), Goal()),
    "jsma, L0": ("jsma", {"steps": 15}, Ball(30, "l0"), Goal()),
    "salt and pepper, L2": ("salt-and-pepper", {"tries": 6}, Ball(3, "l2"), Goal()),
    "spatial": ("spatial", {"grid": 5}, Transformations(30, 0.2), Goal()),
}


def waves(*shape: int, pace: float, phase: float) -> Tensor:
    """A tensor of sines, the same on every machine and in every version of every library."""
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(pace * i + phase + 0.001 * i * i).view(shape)


class Tiny(nn.Module):
    """Two convolutions and a linear layer, three classes; pictures of 1 x 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Linear(96, 3)
        for k, p in enumerate(self.parameters()):
            scale = 1.5 / max(p[0].numel(), 1) ** 0.5 if p.ndim > 1 else 0.1
            p.data = (waves(*p.shape, pace=1.7 + 0.3 * k, phase=0.4 * k) * scale).float()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x - 0.5))
        return 10 * self.last(torch.relu(self.second(h)).flatten(1))


def pictures() -> tuple[Tensor, Tensor]:
    """Rows, each labelled with what the network says, but for the last one, which it gets wrong."""
    x = (0.5 + 0.45 * waves(ROWS, 1, 8, 8, pace=1.1, phase=1.0)).float()
    y = Tiny()(x).argmax(1)
    y[-1] = (y[-1] + 1) % 3
    return x, y


def measured(name: str) -> dict[str, list[float] | list[int]]:
    """Distance (-1 where none is known) and questions of every row."""
    attack, settings, perturbation, goal = CASES[name]
    x, y = pictures()
    recipe = ATTACKS[attack]
    o = Oracle(
        Torch(Tiny(), outputs="logits"),
        x,
        y,
        Threat("golden", perturbation, goal=goal),
        seed=7,
        settle="nearest" if recipe.facts.minimal else "first",
    )
    recipe.bind(**settings)(o)
    r = o.outcome
    return {"distance": [round(d, 6) if d < torch.inf else -1.0 for d in r.distance.tolist()], "queries": r.queries.tolist()}


def held() -> dict[str, dict[str, list[float]]]:
    """What the file says."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}
