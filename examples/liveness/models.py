"""Three small networks for the same question, live or spoof, that have little in common: a plain one, a mobile one, and a mixer of patches.

Each takes colour pictures in [0, 1] whose sides are a multiple of 8, normalises them itself, so that eps is in the picture's own units, and has
fewer than 200,000 parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Normalised(nn.Module):
    """Pictures in [0, 1] to numbers around 0."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.45) / 0.25


def plain() -> nn.Module:
    """Convolutions and ReLU, nothing else."""
    return _made(lambda: nn.Sequential(
        Normalised(),
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 2),
    ))  # fmt: skip


def mobile() -> nn.Module:
    """Depthwise-separable convolutions with batch normalisation, as in networks for telephones (Howard et al. 2017, arXiv:1704.04861)."""
    return _made(lambda: nn.Sequential(
        Normalised(),
        nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU6(),
        *_separable(24, 48, 2), *_separable(48, 64, 2), *_separable(64, 64, 1), *_separable(64, 96, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 2),
    ))  # fmt: skip


def _separable(into: int, out: int, stride: int) -> list[nn.Module]:
    """A convolution of every channel by itself, then one across channels."""
    depth = nn.Conv2d(into, into, 3, stride, padding=1, groups=into, bias=False)
    return [depth, nn.BatchNorm2d(into), nn.ReLU6(), nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU6()]


class Mixing(nn.Module):
    """One layer of a mixer: first across patches, then across channels (Tolstikhin et al. 2021, arXiv:2105.01601, equation 1)."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.patches = nn.Sequential(nn.Linear(patches, 2 * patches), nn.GELU(), nn.Linear(2 * patches, patches))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.patches(self.first(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.second(x))


class Mixer(nn.Module):
    """Patches of a picture, mixed; one small convolution before they are cut."""

    def __init__(self, size: int = 32, patch: int = 4, width: int = 48, layers: int = 2) -> None:
        super().__init__()
        self.normalised = Normalised()
        self.cut = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, width, patch, stride=patch))
        self.layers = nn.Sequential(*(Mixing((size // patch) ** 2, width) for _ in range(layers)))
        self.end = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.cut(self.normalised(x)).flatten(2).transpose(1, 2)
        return self.head(self.end(self.layers(patches)).mean(1))


def mixer() -> nn.Module:
    """A mixer of 4 x 4 patches with GELU, for pictures of 32 x 32."""
    return _made(Mixer)


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with the same weights every time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()
