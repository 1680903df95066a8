"""A drawn camera: lens blur, sampling, automatic exposure and white balance, sensor noise, and compression as in JPEG."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.data.liveness_scene import Dice

OVERSAMPLED = 2
"""Scenes are drawn at this many times the sensor's resolution, so that fine patterns alias as they do in front of a camera."""
BLOCK = 8
LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""The example table of ITU-T T.81 (JPEG), annex K.1, which encoders scale to their quality."""
YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""From RGB to luma and two colour differences (JFIF)."""


def captured(scene: Tensor, dice: Dice) -> Tensor:
    """What a camera makes of scenes (n, 3, 2 size, 2 size): uint8 (n, 3, size, size)."""
    seen = sampled(blurred(scene.clamp_min(0), dice.number(0.3, 0.8)[:, None]))
    exposed = exposure(seen, dice)
    size = seen.shape[-1]
    noise = dice.number(0.003, 0.012)[:, None] * (0.5 + exposed).sqrt() * dice.grain(3, size, size)
    stored = compressed((exposed + noise).clamp(0, 1), dice.number(75, 96)[:, None])
    return (stored.clamp(0, 1) * 255).round().to(torch.uint8)


def exposure(seen: Tensor, dice: Dice) -> Tensor:
    """Automatic exposure and white balance: every channel's mean comes near to one that has nothing to do with what was shown."""
    wanted = dice.number(0.34, 0.55)[:, None] * dice.colour(0.92, 1.08)
    return seen * wanted / seen.mean((2, 3), keepdim=True).clamp_min(0.02)


def blurred(scene: Tensor, sigma: Tensor, reach: int = 2) -> Tensor:
    """A Gaussian blur of width sigma (n, 1, 1, 1) pixels, by sums of shifted copies."""
    taps = torch.arange(-reach, reach + 1).double()
    weights = torch.exp(-0.5 * (taps / sigma) ** 2)
    weights = weights / weights.sum(-1, keepdim=True)
    for dim in (2, 3):
        edges = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
        wide = torch.nn.functional.pad(scene, edges, mode="replicate")
        total = torch.zeros_like(scene)
        for i in range(2 * reach + 1):
            total += weights[..., i, None] * wide.narrow(dim, i, scene.shape[dim])
        scene = total
    return scene


def sampled(scene: Tensor, times: int = OVERSAMPLED) -> Tensor:
    """The mean of every times x times pixels."""
    n, c, h, w = scene.shape
    return scene.view(n, c, h // times, times, w // times, times).mean((3, 5))


def compressed(picture: Tensor, quality: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) in [0, 1] with their 8x8 cosine coefficients rounded as JPEG rounds them, without subsampling of colour.

    Args:
        quality: (n, 1, 1, 1), from 1 to 100, read as the common encoders read it.
    """
    n, _, h, w = picture.shape
    tall, wide = -h % BLOCK, -w % BLOCK
    padded = torch.nn.functional.pad(picture, (0, wide, 0, tall), mode="replicate")
    matrix = torch.tensor(YCC).double()
    ycc = torch.einsum("ij,njhw->nihw", matrix, padded * 255) - 128 * torch.tensor([1.0, 0, 0]).double()[:, None, None]
    rows, cols = (h + tall) // BLOCK, (w + wide) // BLOCK
    tiles = ycc.view(n, 3, rows, BLOCK, cols, BLOCK).permute(0, 1, 2, 4, 3, 5)
    dct = cosines()
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    steps = (torch.tensor(LUMA).double().view(BLOCK, BLOCK) * scale + 0.5).floor().clamp(1, 255)[:, :, None, None]
    kept = (dct @ tiles @ dct.T / steps).round() * steps
    back = (dct.T @ kept @ dct).permute(0, 1, 2, 4, 3, 5).reshape(n, 3, h + tall, w + wide)
    back = back + 128 * torch.tensor([1.0, 0, 0]).double()[:, None, None]
    return torch.einsum("ij,njhw->nihw", matrix.inverse(), back)[:, :, :h, :w] / 255


def cosines() -> Tensor:
    """The orthonormal cosine transform of 8 numbers, (8, 8)."""
    k, x = torch.arange(BLOCK).double()[:, None], torch.arange(BLOCK).double()[None]
    waves = ((2 * x + 1) * k * math.pi / (2 * BLOCK)).cos() * math.sqrt(2 / BLOCK)
    return torch.cat([waves[:1] / math.sqrt(2), waves[1:]])
