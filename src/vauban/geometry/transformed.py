"""Rotations and translations as a space of three parameters, each a share of its limit (Engstrom et al. 2019, arXiv:1712.02779)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from vauban.errors import BadData
from vauban.geometry.linf import Linf
from vauban.threat import Transformations


class Transformed:
    """The parameters (angle, shift down, shift right), each in [-1, 1] as a share of what the threat allows.

    The identity is 0, the body is the unit cube, and `decode` turns an image by bilinear interpolation with `lo` outside the frame.
    """

    identity = False

    def __init__(self, allowed: Transformations) -> None:
        self.allowed = allowed
        mask = torch.tensor([allowed.rotation > 0, allowed.translation > 0, allowed.translation > 0])
        self.body = Linf(1.0, -1.0, 1.0, None if bool(mask.all()) else mask)

    def start(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise BadData(
                f"rotation and translation need images (rows, channels, height, width); these rows have shape {tuple(x.shape[1:])}"
            )
        return x.new_zeros(len(x), 3)

    def decode(self, x: Tensor, v: Tensor) -> Tensor:
        angle = v[:, 0] * math.radians(self.allowed.rotation)
        shift = v[:, 1:] * (2 * self.allowed.translation)
        cos, sin, tall = angle.cos(), angle.sin(), x.shape[2] / x.shape[3]
        # the sampling grid is in [-1, 1] both ways, so a rotation of a frame that is not square needs the aspect ratio
        across = torch.stack([cos, -sin * tall, -shift[:, 1]], 1)
        down = torch.stack([sin / tall, cos, -shift[:, 0]], 1)
        grid = functional.affine_grid(torch.stack([across, down], 1), list(x.shape), align_corners=False)
        fill = self.allowed.lo
        turned = functional.grid_sample(x - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill
        return turned.clamp(self.allowed.lo, self.allowed.hi)
