"""The networks of the tuning models, of other shapes than the reference models. Inputs in [0, 1]."""

from __future__ import annotations

from torch import Tensor, nn


def digits_three(classes: int = 10) -> nn.Module:
    """Three convolutions of 16-24-32 channels for 28 x 28 digits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 1, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, classes),
    )  # fmt: skip


def digits_two(first: int, second: int, hidden: int, classes: int = 10) -> nn.Module:
    """Two convolutions, with means instead of strides, for 28 x 28 digits."""
    return nn.Sequential(
        nn.Conv2d(1, first, 3, 1, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(first, second, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(second * 49, hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip


def dense(features: int, *widths: int) -> nn.Module:
    """Fully connected, ReLU between."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers += [nn.Linear(features, width), nn.ReLU()]
        features = width
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """Normalise, ReLU, convolve, twice, beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside), nn.ReLU(), nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
        )  # fmt: skip
        self.short = nn.Identity() if inside == outside else nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inside, outside, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.short(x) + self.body(x)


def pictures_residual(width: int) -> nn.Module:
    """Three pre-activation blocks for 32 x 32 colour images, of widths w, 2w and 4w."""
    return nn.Sequential(
        nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, width, 3, 1, 1, bias=False),
        Residual(width, width, 1), Residual(width, 2 * width, 2), Residual(2 * width, 4 * width, 2),
        nn.BatchNorm2d(4 * width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10),
    )  # fmt: skip


def pictures_plain(width: int) -> nn.Module:
    """Four strided convolutions without normalisation for 32 x 32 colour images."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1), nn.ReLU(), nn.Conv2d(4 * width, 4 * width, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * width * 16, 10),
    )  # fmt: skip
