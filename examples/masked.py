"""Hiding the gradient is no defence: four models that look robust to a plain evaluation, the doubts about it, and what is left when one adapts.

    python examples/masked.py

A softmax that is always sure (logits times 1,000), activations on four levels, a rounding that stops the gradient, and distillation at temperature
100. Each is attacked by 20 steps of PGD on cross-entropy, as a hurried evaluation does; then by Vauban's default suite; and where the gradient
itself is missing, by an attacker that puts a straight-through step in its place (Athalye et al. 2018, arXiv:1802.00420).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import vauban
from vauban import Ball, Threat, Torch
from vauban.attacks import pgd
from vauban.target import Surrogate

THREAT = Threat("insider", Ball(0.2))
Loss = Callable[[Tensor, Tensor], Tensor]


def digits() -> tuple[Tensor, Tensor]:
    """1,797 handwritten digits, (n, 1, 8, 8) in [0, 1], shuffled, and their labels."""
    data = load_digits()  # pyright: ignore
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16  # pyright: ignore
    return x[order], torch.tensor(data.target)[order]  # pyright: ignore


def trained(middle: nn.Module, epochs: int = 12, rate: float = 3e-3, loss: Loss = F.cross_entropy) -> nn.Sequential:
    """A small network with something in its middle, trained on the first 1,300 digits."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), middle, nn.Linear(96, 10))
    x, y = (t[:1300] for t in digits())
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(100):
            optimiser.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


class Times(nn.Module):
    """Logits times a constant: a softmax that is always sure, and whose cross-entropy has no gradient left in float32."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.factor


class Levels(nn.Module):
    """Activations on four levels. Trained straight through; deployed, their gradient is zero nearly everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.straight = True

    def forward(self, h: Tensor) -> Tensor:
        hard = (h.clamp(0, 3) / 0.75).round() * 0.75
        return h.relu() + (hard - h.relu()).detach() if self.straight else hard


class Rounded(nn.Module):
    """A rounding before the network that the gradient does not pass."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x.detach() * 16).round() / 16)


def masked() -> dict[str, tuple[Torch, Surrogate | None]]:
    """Each masked model, and the gradients of an attacker that looks through it; None where another objective is enough."""
    plain, levels = trained(nn.ReLU()), trained(Levels())
    deployed = copy.deepcopy(levels)
    for part in deployed.modules():
        if isinstance(part, Levels):
            part.straight = False
    distilled = trained(nn.ReLU(), epochs=20, rate=1e-2, loss=lambda z, y: F.cross_entropy(z / 100, y))
    return {
        "softmax that is always sure": (Torch(Times(plain, 1000.0), outputs="logits"), None),
        "activations on four levels": (Torch(deployed, outputs="logits"), Torch(levels, outputs="logits")),
        "rounding that stops gradients": (Torch(Rounded(plain), outputs="logits"), Torch(plain, outputs="logits")),
        "distilled at temperature 100": (Torch(distilled, outputs="logits"), None),
    }


def main() -> None:
    """Print, for each model, what a hurried evaluation says, what is said of that, and what is left."""
    torch.set_num_threads(1)  # so small a network is slower on several
    x, y = (t[1300:1380] for t in digits())
    for name, (target, through) in masked().items():
        hurried = vauban.audit(target, x, y, THREAT, attacks=[pgd.bind(steps=20)])["insider"]
        suite = vauban.audit(target, x, y, THREAT, doubters=())["insider"]
        left = suite.robust.hits
        if through is not None:
            adapted = vauban.audit(target, x, y, THREAT, surrogate=through, doubters=())["insider"]
            left = sum(a and b for a, b in zip(suite.standing().values(), adapted.standing().values(), strict=True))
        print(f"{name:30} clean {hurried.clean.value:4.0%}  hurried {hurried.robust.value:4.0%}  adapted {left / len(x):4.0%}")
        print(f"{'':30} doubted: {', '.join(d.name for d in hurried.doubts)}")


if __name__ == "__main__":
    main()
