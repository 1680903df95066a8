"""One thread, and small networks of every operator that bounds know."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

torch.set_num_threads(1)
IMAGE, VECTOR, SIGNAL = (2, 6, 6), (5,), (2, 9)


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


class Branched(nn.Module):
    """Branches that are concatenated, as in DenseNet and SqueezeNet; channels that are split and shuffled, as in ShuffleNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, 1, 1, padding_mode="reflect")
        self.one, self.two = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 3, 1, 1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.bn, self.last = nn.BatchNorm2d(9), nn.Conv2d(9, 6, 2)
        self.fc = nn.Linear(5 * 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.stem(x))
        x = torch.cat([F.relu(self.one(x)), F.relu6(3 * self.two(x)), x], dim=1)
        x = F.channel_shuffle(self.last(self.pool(F.silu(self.bn(x)))), 2)
        left, right = x.chunk(2, dim=1)
        x = torch.cat((left.abs(), right[:, 1:]), 1)
        return self.fc(F.adaptive_avg_pool2d(F.pad(x, (0, 1)), (1, 3)).flatten(1))


class Joined(nn.Module):
    """A block of a DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(2, 3, 3, 1, 1), nn.Conv2d(5, 2, 1), nn.Conv2d(7, 4, 3, 2)
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.relu(self.one(x)), x], 1)
        x = torch.cat([x, F.relu(self.two(x))], 1)
        return self.fc(F.relu(self.three(x)).flatten(1))


class Signal(nn.Module):
    """Convolutions along time, with a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding="same", dilation=2, groups=2)
        self.bn, self.act = nn.BatchNorm1d(4), nn.ELU()
        self.down, self.pool = nn.AvgPool1d(2, 1), nn.MaxPool1d(3, 2, 1)
        self.end = nn.AdaptiveAvgPool1d(3)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.one(x)))
        x = self.pool(F.relu(self.two(x) + x))
        return self.fc(self.end(self.down(x)).transpose(1, 2).flatten(1))


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
    "gelu": (lambda: _vector(nn.GELU()), VECTOR),
    "tanh-gelu": (lambda: _image(nn.GELU(approximate="tanh")), IMAGE),
    "silu": (lambda: _image(nn.SiLU()), IMAGE),
    "elu": (lambda: _vector(nn.ELU()), VECTOR),
    "softplus": (lambda: _vector(nn.Softplus()), VECTOR),
    "clamped": (lambda: _image(nn.Hardtanh(-0.3, 0.4)), IMAGE),
    "ceiled": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, 1, 1),
            nn.Tanh(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(3, 4, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        IMAGE,
    ),
    "branched": (Branched, IMAGE),
    "joined": (Joined, IMAGE),
    "signal": (Signal, SIGNAL),
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
