"""One thread, and small networks of every operator that bounds know."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

torch.set_num_threads(1)
IMAGE, VECTOR = (2, 6, 6), (5,)


class Residual(nn.Module):
    """Two blocks, the second one with a shortcut of another stride, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(2, 3, 3, 1, 1, bias=False), nn.BatchNorm2d(3)
        self.one, self.two = nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 3, 3, 1, 1)
        self.three, self.four = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.short = nn.Conv2d(3, 4, 1, 2)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem((x - 0.4) / torch.tensor([0.2, 0.5]).view(2, 1, 1))))
        x = F.relu(self.two(F.relu(self.one(x))) + x)
        x = F.relu(self.four(F.relu(self.three(x))) + self.short(x))
        return self.fc(x.mean((2, 3)))


def _vector(bend: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), bend, nn.BatchNorm1d(7), nn.Linear(7, 6), bend, nn.Linear(6, 3))


def _image(bend: nn.Module, *pool: nn.Module, size: int = 4 * 9) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, 1, 1), bend, *pool, nn.Conv2d(3, 4, 4, 2, 1), nn.BatchNorm2d(4), bend, nn.Flatten(), nn.Linear(size, 3)
    )


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: _vector(nn.ReLU()), VECTOR),
    "leaky": (lambda: _vector(nn.LeakyReLU(0.2)), VECTOR),
    "sigmoid": (lambda: _vector(nn.Sigmoid()), VECTOR),
    "tanh": (lambda: _vector(nn.Tanh()), VECTOR),
    "conv": (lambda: _image(nn.ReLU()), IMAGE),
    "maxpool": (lambda: _image(nn.ReLU(), nn.MaxPool2d(2, 1, 1), size=4 * 9), IMAGE),
    "avgpool": (lambda: _image(nn.ReLU(), nn.AvgPool2d(3, 1, 1, count_include_pad=False)), IMAGE),
    "pooled": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)), IMAGE),
    "residual": (Residual, IMAGE),
}


@pytest.fixture(scope="session")
def build() -> Callable[..., tuple[nn.Module, Tensor]]:
    """`build(name, seed, rows)`: a network with random weights and batch statistics, and inputs in [0, 1]."""

    def made(name: str, seed: int, rows: int = 3) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(seed)
        maker, shape = NETS[name]
        model = maker().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.3, 2)  # type: ignore[union-attr]
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        return model, torch.rand(rows, *shape)

    return made
