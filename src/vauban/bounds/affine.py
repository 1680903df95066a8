"""The affine operations: products with matrices, convolutions, scales, sums, changes of shape and place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.bounds.ops import Affine, Pair, Shape


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """a.b over all but the first two dimensions, with b of one row's shape (or broadcastable to it)."""
    return (a.flatten(2) @ b.expand(a.shape[2:]).reshape(-1, 1)).squeeze(-1)


@dataclass(frozen=True, eq=False)
class Dense(Affine):
    """x @ weight.T + bias on the last dimension; weight (out, in), bias (out,), float64."""

    weight: Tensor
    bias: Tensor

    def __call__(self, *x: Tensor) -> Tensor:
        return x[0] @ self.weight.T + self.bias

    @property
    def terms(self) -> Pair:
        return self.weight.shape[1] + 1, self.weight.shape[0]

    def absolute(self, *m: Tensor) -> Tensor:
        return m[0] @ self.weight.abs().T

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        return (a @ self.weight,)

    def offset(self, a: Tensor) -> Tensor:
        return _dot(a, self.bias)

    def heft(self) -> Tensor:
        return self.bias.abs()


@dataclass(frozen=True, eq=False)
class Conv(Affine):
    """Two-dimensional convolution with zeros around; weight (out, in / groups, kh, kw), bias (out,), float64."""

    weight: Tensor
    bias: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    before: Shape
    """One row of the input: (channels, height, width)."""

    def __call__(self, *x: Tensor) -> Tensor:
        return F.conv2d(x[0], self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    @property
    def terms(self) -> Pair:
        out, per_group, kh, kw = self.weight.shape
        return per_group * kh * kw + 1, out // self.groups * kh * kw

    def absolute(self, *m: Tensor) -> Tensor:
        return F.conv2d(m[0], self.weight.abs(), None, self.stride, self.padding, self.dilation, self.groups)

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        flat = a.reshape(-1, *a.shape[2:])
        if self.groups == 1 and a.dtype == torch.float64:  # a product and a sum over windows: half the time of the library's own
            columns = self.weight.flatten(1).T @ flat.flatten(2)
            wide = F.fold(columns, self.before[1:], self.weight.shape[2:], self.dilation, self.padding, self.stride)
            return (wide.view(*a.shape[:2], *self.before),)
        wide = F.conv_transpose2d(flat, self.weight, None, self.stride, self.padding, self._rest, self.groups, self.dilation)
        return (wide.view(*a.shape[:2], *wide.shape[1:]),)

    @property
    def _rest(self) -> list[int]:
        """The rows and columns at the end of the input that no window reaches."""
        spans = zip(self.before[1:], self.shape[1:], self.stride, self.padding, self.dilation, self.weight.shape[2:], strict=True)
        return [size - ((out - 1) * s - 2 * p + d * (k - 1) + 1) for size, out, s, p, d, k in spans]

    def offset(self, a: Tensor) -> Tensor:
        return _dot(a, self.bias.view(-1, 1, 1))

    def heft(self) -> Tensor:
        return self.bias.abs().view(-1, 1, 1)


@dataclass(frozen=True, eq=False)
class Scale(Affine):
    """scale * x + shift, feature by feature; both float64 and broadcastable to a row. Normalisation, batch norm, constants added.

    `weight_of_shift` is the sum of the absolute values that make up the shift: more than |shift| where they cancel, as in batch norm.
    """

    scale: Tensor
    shift: Tensor
    weight_of_shift: Tensor

    def __call__(self, *x: Tensor) -> Tensor:
        return x[0] * self.scale + self.shift

    @property
    def terms(self) -> Pair:
        return 16, 1  # batch norm: a root, a division, three products and three sums, none of them off by more than two units

    def absolute(self, *m: Tensor) -> Tensor:
        return m[0] * self.scale.abs()

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        return (a * self.scale,)

    def offset(self, a: Tensor) -> Tensor:
        return _dot(a, self.shift)

    def heft(self) -> Tensor:
        return self.weight_of_shift


@dataclass(frozen=True, eq=False)
class Exact(Affine):
    """An operation that moves, keeps or drops numbers and rounds none of them."""

    @property
    def terms(self) -> Pair:
        return 0, 0

    def absolute(self, *m: Tensor) -> Tensor:
        return self(*m)


@dataclass(frozen=True, eq=False)
class Reshape(Exact):
    """The same numbers in the same order in another shape."""

    before: Shape

    def __call__(self, *x: Tensor) -> Tensor:
        return x[0].reshape(len(x[0]), *self.shape)

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        return (a.reshape(*a.shape[:2], *self.before),)


@dataclass(frozen=True, eq=False)
class Total(Affine):
    """`factor` times the sum over some dimensions of a row (counted without the batch); a mean where factor is 1 over their size."""

    dims: tuple[int, ...]
    factor: float
    before: Shape

    def __call__(self, *x: Tensor) -> Tensor:
        return (x[0].sum([d + 1 for d in self.dims]) * self.factor).reshape(len(x[0]), *self.shape)

    @property
    def terms(self) -> Pair:
        return math.prod(self.before[d] for d in self.dims) + 1, 1

    def absolute(self, *m: Tensor) -> Tensor:
        return self(*m)

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        kept = [1 if d in self.dims else size for d, size in enumerate(self.before)]
        return ((a * self.factor).reshape(*a.shape[:2], *kept).expand(*a.shape[:2], *self.before),)


@dataclass(frozen=True, eq=False)
class Sum(Affine):
    """Inputs of one shape added up, each with a sign: the joint of a residual block."""

    signs: tuple[float, ...]

    def __call__(self, *x: Tensor) -> Tensor:
        return torch.stack([t * s for t, s in zip(x, self.signs, strict=True)]).sum(0)

    @property
    def terms(self) -> Pair:
        return len(self.signs), 1

    def absolute(self, *m: Tensor) -> Tensor:
        return torch.stack(m).sum(0)

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        return tuple(a * s for s in self.signs)


@dataclass(frozen=True, eq=False)
class Join(Exact):
    """Inputs one after the other along a dimension of a row (counted without the batch); `sizes` are theirs along it."""

    dim: int
    sizes: tuple[int, ...]

    def __call__(self, *x: Tensor) -> Tensor:
        return torch.cat(x, self.dim + 1)

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        return a.split(self.sizes, self.dim + 2)


@dataclass(frozen=True, eq=False)
class Pick(Affine):
    """Features of a row in another order, some of them left out, repeated or 0: permutations, slices, padding.

    `source` int64 of the output's shape: which feature of the input, counted through the flattened row, stands there; -1 for a 0.
    """

    source: Tensor
    before: Shape

    def __call__(self, *x: Tensor) -> Tensor:
        source = self.source.flatten()
        return torch.where(source >= 0, x[0].flatten(1)[:, source.clamp_min(0)], 0.0).view(len(x[0]), *self.shape)

    @property
    def terms(self) -> Pair:
        """Nothing is added up, but by the transpose for features that stand in several places."""
        times = int(self.source[self.source >= 0].bincount(minlength=1).max())
        return (0, 0) if times <= 1 else (1, times)

    def absolute(self, *m: Tensor) -> Tensor:
        return self(*m)

    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        kept = self.source.flatten() >= 0
        found = a.new_zeros(*a.shape[:2], math.prod(self.before))
        found = found.index_add(2, self.source.flatten()[kept], a.flatten(2)[:, :, kept])
        return (found.view(*a.shape[:2], *self.before),)
