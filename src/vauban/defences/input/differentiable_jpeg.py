"""JPEG that can be differentiated: the steps of the codec, with a rounding of the coefficients that has a slope."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

LUMA = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Steps of the brightness coefficients at quality 50 (ITU-T T.81, table K.1)."""
CHROMA = torch.full((8, 8), 99)
CHROMA[:4, :4] = torch.tensor([[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]])
"""Steps of the colour coefficients at quality 50 (table K.2)."""
COARSE = 40
"""The quality below which steps are coarse."""
TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""Red, green, blue to brightness and two colour differences (JFIF 1.02)."""
TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


def bent(v: Tensor, power: int) -> Tensor:
    """A rounding with a slope: the nearest whole number, plus what is left to this power, so scaled that it is continuous half-way.

    Its slope is 0 at whole numbers, `power` half-way and 1 in the mean. With power 3 it is, but for the scale, that of Shin and Song (2017,
    section 3.1).
    """
    whole = v.round()
    rest = v - whole
    return whole + rest * (2 * rest).abs() ** (power - 1)


class SoftJpeg:
    """JPEG with 4:2:0 colour of images (n, 1 or 3, height, width) in [0, 1], any height and width, as a differentiable function.

    With `rounding=torch.round` it is the codec itself, except that colours are not rounded to 8 bits on the way in and out.

    Args:
        quality: 1 to 100, as libjpeg scales its tables.
        rounding: of the coefficients; by default `bent` with power 2, or 3 below quality 40: where attacks with small changes were strongest
            (coarse steps: a change matters where a coefficient is near a threshold already; fine steps: everywhere).
        clamps: whether what leaves [0, 1] is cut off, as the codec does; there the slope is 0.

    >>> SoftJpeg(50)(torch.rand(2, 3, 9, 20)).shape
    torch.Size([2, 3, 9, 20])
    """

    def __init__(self, quality: int, rounding: Callable[[Tensor], Tensor] | None = None, *, clamps: bool = True) -> None:
        self.quality, self.clamps = quality, clamps
        self.rounding = rounding or partial(bent, power=3 if quality < COARSE else 2)
        self.luma, self.chroma = table(LUMA, quality), table(CHROMA, quality)

    def __call__(self, x: Tensor) -> Tensor:
        v = 255 * x
        y = self._coloured(v) if x.shape[1] == 3 else self._plane(v[:, 0], self.luma)[:, None]
        return (y / 255).clamp(0, 1) if self.clamps else y / 255

    def _coloured(self, v: Tensor) -> Tensor:
        height, width = v.shape[2:]
        ycc = torch.einsum("ij,njhw->nihw", TO_YCC.to(v), v)
        # the codec fills up columns before colours are halved, and rows afterwards
        small = functional.avg_pool2d(filled(ycc[:, 1:], 2, 16), 2)
        near = self._plane(small.flatten(0, 1) + 128, self.chroma).view_as(small)[..., : (width + 1) // 2] - 128
        colour = functional.interpolate(near, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
        bright = self._plane(ycc[:, 0], self.luma)
        return torch.einsum("ij,njhw->nihw", TO_RGB.to(v), torch.cat([bright[:, None], colour], 1))

    def _plane(self, v: Tensor, steps: Tensor) -> Tensor:
        """Values (n, height, width) in [0, 255] through the cosine transform of 8 x 8 blocks, quantised there, and back."""
        height, width = v.shape[1:]
        padded = filled(v[:, None], 8, 8)[:, 0] - 128
        blocks = padded.unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).transpose(2, 3)
        base, q = COSINES.to(v), steps.to(v)
        kept = self.rounding(base @ blocks @ base.T / q) * q
        back = (base.T @ kept @ base).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return back[:, :height, :width] + 128


def table(base: Tensor, quality: int) -> Tensor:
    """The steps at a quality (the scaling of the Independent JPEG Group: 50 gives the table itself, 100 all ones).

    >>> int(table(LUMA, 75)[0, 0]), int(table(LUMA, 20)[0, 0]), int(table(LUMA, 100).max())
    (8, 40, 1)
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((base * scale + 50) // 100).clamp(1, 255)


def filled(x: Tensor, rows: int, columns: int) -> Tensor:
    """Images (n, channels, height, width) with their last row and column repeated up to multiples of these."""
    down, right = -x.shape[2] % rows, -x.shape[3] % columns
    return functional.pad(x, (0, right, 0, down), mode="replicate") if down or right else x


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values."""
    k = torch.arange(8, dtype=torch.float64)
    base = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) / 2
    base[0] /= math.sqrt(2)
    return base


COSINES = _cosines()
