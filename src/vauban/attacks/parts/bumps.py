"""Shapes of what is added in a window of an image: two opposed pyramids; and an image tiled with them."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.windows import Frame
from vauban.noise import RowNoise


def pyramid(height: int, width: int) -> Tensor:
    """Steps that rise towards the middle (Andriushchenko et al. 2020, arXiv:1912.00049, equation 2), float32 (height, width).

    The value at a Chebyshev distance k from the middle is the sum of 1/j^2 for j from k + 1 to half the longer side, rounded down, plus 1.
    """
    down, across = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    away = torch.maximum(down.abs()[:, None], across.abs()[None])
    levels = torch.arange(1, max(height, width) // 2 + 2).float() ** -2
    return levels.flip(0).cumsum(0).flip(0)[away]


def bump(height: int, width: int, p: float) -> Tensor:
    """A pyramid up in the upper half of a window and one down in the lower half, equally heavy; of Lp norm 1, float32 (height, width)."""
    if height == 1:
        whole = pyramid(height, width)
        return whole / torch.linalg.vector_norm(whole, p)
    halves = [pyramid(height // 2, width), pyramid(height - height // 2, width)]
    upper, lower = (half / torch.linalg.vector_norm(half, p) for half in halves)
    return torch.cat([upper, -lower]) / 2 ** (1 / p)


def tiles(noise: RowNoise, frame: Frame, p: float) -> Tensor:
    """Five bumps to the shorter side of a frame, each with a random sign for each channel, upright or turned: float32 (n, *shape)."""
    side = max(min(frame.height, frame.width) // 5, 1)
    down, across = frame.height // side, frame.width // side
    sign, turned = noise.sign(frame.channels, down, across, 1, 1), noise.uniform(1, down, across, 1, 1) < 0.5
    upright = bump(side, side, p).to(sign)
    tiled = (sign * torch.where(turned, upright.T, upright)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    change = sign.new_zeros(len(noise), *frame.shape)
    top, left = (frame.top + (frame.height - down * side) // 2, frame.left + (frame.width - across * side) // 2)
    change[:, :, top : top + down * side, left : left + across * side] = tiled
    return change
