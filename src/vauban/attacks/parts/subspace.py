"""Few dimensions of an input for random directions: low frequencies, or a coarse grid, each with an orthonormal basis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Directions = Literal["full", "dct", "bilinear"]


@dataclass(frozen=True, eq=False)
class Subspace:
    """The directions of inputs of a shape that come from coefficients; every channel by itself. Orthonormal: lengths are kept.

    Attributes:
        shape: of one input.
        down, across: the basis along height and width, (height, a) and (width, b), or None for the whole space.
    """

    shape: tuple[int, ...]
    down: Tensor | None = None
    across: Tensor | None = None

    @classmethod
    def of(cls, kind: Directions, like: Tensor, reduction: float) -> Subspace:
        """Directions for inputs (n, *shape): as many coefficients along each side of an image as it has pixels, over `reduction`.

        Inputs that are no images (channels, height, width) have no neighbours: theirs is the whole space.
        """
        shape = tuple(like.shape[1:])
        if kind == "full" or len(shape) != 3 or reduction <= 1:
            return cls(shape)
        basis = cosines if kind == "dct" else hats
        down, across = (basis(side, max(round(side / reduction), 1)).to(like) for side in shape[1:])
        return cls(shape, down, across)

    @property
    def coefficients(self) -> tuple[int, ...]:
        """The shape of the coefficients of one direction."""
        if self.down is None or self.across is None:
            return self.shape
        return self.shape[0], self.down.shape[1], self.across.shape[1]

    def lift(self, z: Tensor) -> Tensor:
        """Directions (..., *shape) from coefficients (..., *coefficients)."""
        return z if self.down is None or self.across is None else self.down @ z @ self.across.T


def cosines(size: int, count: int) -> Tensor:
    """The `count` lowest vectors of the orthonormal discrete cosine transform (DCT-II), (size, count).

    >>> torch.allclose(cosines(8, 3).T @ cosines(8, 3), torch.eye(3), atol=1e-6)
    True
    """
    place, k = torch.arange(size, dtype=torch.float64)[:, None] + 0.5, torch.arange(count, dtype=torch.float64)
    wave = torch.cos(math.pi * place * k / size) * math.sqrt(2 / size)
    wave[:, 0] = math.sqrt(1 / size)
    return wave.float()


def hats(size: int, count: int) -> Tensor:
    """An orthonormal basis (size, count) of what bilinear interpolation makes of `count` values: QEBA-S (Li et al. 2020, section 4.1)."""
    up = torch.nn.functional.interpolate(torch.eye(count, dtype=torch.float64)[None], size=size, mode="linear", align_corners=False)[0].T
    return torch.linalg.qr(up).Q.float()
