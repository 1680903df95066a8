"""Orthonormal bases of the inputs, one vector at a time: single features, or the waves of the discrete cosine transform."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from vauban.attacks.parts.subspace import cosines
from vauban.doors import Oracle

BasisName = Literal["pixel", "dct"]


def waves(n: int) -> Tensor:
    """The orthonormal DCT-II matrix, float32 (n, n): row k is the wave of frequency k.

    >>> torch.allclose(waves(5) @ waves(5).T, torch.eye(5), atol=1e-6)
    True
    """
    return cosines(n, n).T


class Basis:
    """Vectors of norm 1, orthogonal to each other, by number.

    Args:
        shape: of one input; what has not three dimensions is taken as one line.
        name: "pixel", one feature each; "dct", a wave in one channel each.
        share: of the frequencies in each direction, lowest first, that an image's waves have; a vector has all, since its features have no
            neighbours.
        usable: int64, the features that may change; the waves go over all.
    """

    def __init__(self, shape: tuple[int, ...], name: BasisName, share: float, usable: Tensor) -> None:
        self.shape, self.usable = shape, usable
        self.frame = shape if len(shape) == 3 else (1, 1, math.prod(shape))
        waved, part = name == "dct", share if len(shape) == 3 else 1.0
        self.low = tuple(max(math.ceil(part * side), 1) for side in self.frame[1:])
        self.count: int = self.frame[0] * math.prod(self.low) if waved else len(usable)
        self.vectors: Callable[[Tensor], Tensor] = self._waves if waved else self._features
        if waved:
            self.down, self.across = (cosines(side, low).T.to(usable.device) for side, low in zip(self.frame[1:], self.low, strict=True))

    @classmethod
    def of(cls, o: Oracle, name: BasisName, share: float) -> Basis:
        """The basis for the inputs that an oracle holds, under the mask of its threat."""
        free = torch.ones_like(o.x[0], dtype=torch.bool) if o.ball.mask is None else o.ball.mask
        return cls(tuple(o.x.shape[1:]), name, share, free.flatten().nonzero()[:, 0])

    def _features(self, number: Tensor) -> Tensor:
        """Unit vectors, float32 (n, *shape), for numbers int64 (n,)."""
        flat = torch.zeros(len(number), math.prod(self.shape), device=number.device)
        return flat.scatter_(1, self.usable[number][:, None], 1.0).view(-1, *self.shape)

    def _waves(self, number: Tensor) -> Tensor:
        """Waves, float32 (n, *shape), for numbers int64 (n,)."""
        tall, wide = self.low
        channel, place = number // (tall * wide), number % (tall * wide)
        full = self.down.new_zeros(len(number), *self.frame)
        rows = torch.arange(len(number), device=number.device)
        full[rows, channel] = self.down[place // wide][:, :, None] * self.across[place % wide][:, None, :]
        return full.view(-1, *self.shape)
