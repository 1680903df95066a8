"""The operations that are not affine: ReLU, sigmoid and tanh, GELU and its kin, the maximum of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.bounds.ops import Bend, Pair, Shape
from vauban.bounds.pieces import PROFILES, lines_of_pieces
from vauban.bounds.relax import Lines, Picks, chord_of_relu, lines_of_s


@dataclass(frozen=True, eq=False)
class Relu(Bend):
    """x where it is positive and `slope` * x elsewhere, 0 <= slope <= 1."""

    slope: float = 0.0

    def __call__(self, *x: Tensor) -> Tensor:
        return torch.where(x[0] > 0, x[0], x[0] * self.slope) if self.slope else torch.relu(x[0])

    def relax(self, lo: Tensor, hi: Tensor, slope: Tensor | None = None) -> Lines:
        return chord_of_relu(lo, hi, self.slope, slope)

    def open(self, lo: Tensor, hi: Tensor) -> Tensor:
        return (lo < 0) & (hi > 0)


@dataclass(frozen=True, eq=False)
class Curve(Bend):
    """An S: rising, convex below 0 and concave above. "sigmoid" or "tanh"."""

    kind: str

    def __call__(self, *x: Tensor) -> Tensor:
        return torch.sigmoid(x[0]) if self.kind == "sigmoid" else torch.tanh(x[0])

    def relax(self, lo: Tensor, hi: Tensor, slope: Tensor | None = None) -> Lines:
        def steepness(x: Tensor) -> Tensor:
            y = self(x)
            return y * (1 - y) if self.kind == "sigmoid" else 1 - y * y

        return lines_of_s(self, steepness, lo, hi)

    def error(self, lo: Tensor, hi: Tensor, unit: float) -> Tensor:
        return torch.full_like(lo, 16 * unit)  # libraries promise a few units in the last place of numbers below 1


@dataclass(frozen=True, eq=False)
class Smooth(Bend):
    """A smooth function that may fall before it rises: one of `vauban.bounds.pieces.PROFILES`, by name."""

    kind: str

    def __call__(self, *x: Tensor) -> Tensor:
        return PROFILES[self.kind].f(x[0])

    def extent(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        return PROFILES[self.kind].extent(lo, hi)

    def relax(self, lo: Tensor, hi: Tensor, slope: Tensor | None = None) -> Lines:
        return lines_of_pieces(PROFILES[self.kind], lo, hi)

    def error(self, lo: Tensor, hi: Tensor, unit: float) -> Tensor:
        """Libraries form x (1 + erf(x)) and exp(x) - 1 as written, which cancel: what is off is off by units of 1 and of x, not of the result.

        PyTorch's softplus is x itself beyond 20, which is off by 2.1e-9.
        """
        cut = 2.1e-9 if self.kind == "softplus" else 0.0
        return 16 * unit * (1 + torch.maximum(lo.abs(), hi.abs())) + cut


@dataclass(frozen=True, eq=False)
class MaxPool(Bend):
    """The greatest of each window, over images (channels, height, width); `ceil` keeps a last window that reaches beyond the edge."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    before: Shape
    ceil: bool = False

    def __call__(self, *x: Tensor) -> Tensor:
        return F.max_pool2d(x[0], self.kernel, self.stride, self.padding, self.dilation, self.ceil)

    def relax(self, lo: Tensor, hi: Tensor, slope: Tensor | None = None) -> Picks:
        """Below: the feature with the greatest lower limit. Above: that feature where no other can exceed it, else the greatest limit."""
        least, pick = F.max_pool2d(lo, self.kernel, self.stride, self.padding, self.dilation, self.ceil, return_indices=True)
        most = self(hi)
        rivals = F.unfold(F.pad(hi, self._sides, value=-math.inf), self.kernel, self.dilation, 0, self.stride)
        windows = rivals.view(len(hi), self.before[0], -1, *self.shape[1:])
        above = (windows > least[:, :, None]).sum(2)
        own = hi.flatten(2).gather(2, pick.flatten(2)).view_as(least) > least
        sure = above == own
        return Picks(pick, sure, torch.where(sure, 0.0, most), self.before)

    @property
    def _sides(self) -> list[int]:
        """What windows reach beyond the edges: left, right, top, bottom."""
        sides: list[int] = []
        for axis in (1, 0):
            k, s, p, d = self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]
            reach = (self.shape[1 + axis] - 1) * s + d * (k - 1) + 1 - p
            sides += [p, max(reach - self.before[1 + axis], p)]
        return sides

    def error(self, lo: Tensor, hi: Tensor, unit: float) -> Tensor:
        return unit * torch.maximum(self(lo).abs(), self(hi).abs())
