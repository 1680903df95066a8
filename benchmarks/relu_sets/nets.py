"""The small networks: what they are, how they are trained, and where they are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.measure import cpu_seconds
from benchmarks.tuning.nets import dense

FOLDER = Path(__file__).parents[2] / ".tuning" / "relu"


@dataclass(frozen=True)
class Spec:
    """A network for 28 x 28 digits, the L-infinity radius it is trained and attacked at, how long, and the seed."""

    net: Callable[[], nn.Module]
    eps: float
    epochs: int
    seed: int


def strided(channels: int, hidden: int) -> nn.Module:
    """A convolution of 4 x 4 patches that do not overlap, and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Linear(hidden, 10)
    )


SPECS = {
    "dense-24x3": Spec(lambda: dense(784, 24, 24, 24, 10), 0.1, 8, 51),
    "dense-24x2": Spec(lambda: dense(784, 24, 24, 10), 0.1, 8, 52),
    "conv-4-32": Spec(lambda: strided(4, 32), 0.15, 6, 54),
}
"""72, 48 and 228 ReLUs, of which some twenty to a hundred can be on and off within the radius: what the solver can decide."""


@cache
def digits(data: Path, split: str) -> tuple[Tensor, Tensor]:
    """MNIST in [0, 1], (n, 1, 28, 28), and its classes."""
    held = np.load(data / "mnist.npz")
    return torch.from_numpy(held[f"x_{split}"][:, None]).float() / 255, torch.from_numpy(held[f"y_{split}"]).long()


def trained(name: str, data: Path, folder: Path = FOLDER) -> tuple[nn.Module, float]:
    """The network in evaluation mode with frozen parameters, and the CPU seconds that its training took."""
    spec, file, clock = SPECS[name], folder / f"{name}.safetensors", folder / f"{name}.seconds"
    torch.manual_seed(spec.seed)
    model = spec.net()
    if file.is_file():
        model.load_state_dict(load_file(file))
    else:
        seconds = cpu_seconds(lambda: _train(model, spec, *digits(data, "train")))
        folder.mkdir(parents=True, exist_ok=True)
        clock.write_text(f"{seconds:.1f}")
        save_file({k: t.contiguous() for k, t in model.state_dict().items()}, file)
    return model.eval().requires_grad_(False), float(clock.read_text())


def _train(model: nn.Module, spec: Spec, x: Tensor, y: Tensor, batch: int = 128) -> None:
    """Madry et al. 2018, arXiv:1706.06083: every step on the ends of 7 steps of PGD, whose radius grows over the first 40 % of the steps.

    A loop of its own, and a plain one: `vauban.defences` trains networks that have fewer such rows.
    """
    rounds = len(x) // batch
    total = spec.epochs * rounds
    adam = torch.optim.Adam(model.parameters())
    pace = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=total)
    for step in range(total):
        if step % rounds == 0:
            order = torch.randperm(len(x))
        rows = order[step % rounds * batch :][:batch]
        eps = spec.eps * min(1.0, step / (0.4 * total))
        worst = _ascended(model, x[rows], y[rows], eps)
        loss = nn.functional.cross_entropy(model(worst), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        pace.step()


def _ascended(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    change = (2 * torch.rand_like(x) - 1) * eps
    for _ in range(7):
        change.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model((x + change).clamp(0, 1)), y), change)
        change = (change.detach() + eps / 3.5 * gradient.sign()).clamp(-eps, eps)
    return (x + change).clamp(0, 1)
