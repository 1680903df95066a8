"""Operators of PyTorch that pool, told in operations of our own, and one-dimensional ones as images of one row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.bounds.affine import Dense, Reshape, Total
from vauban.bounds.bends import MaxPool
from vauban.bounds.translate import Draft, Wire, conv2d, pair, scaled


def max_pool2d(
    g: Draft,
    x: Wire,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Wire:
    if return_indices:
        raise g.refuse("with return_indices")
    kernel, padding, dilation = pair(kernel_size), pair(padding), pair(dilation)
    stride = pair(kernel_size if stride is None else stride)
    reach = [(out - 1) * s + d * (k - 1) + 1 for out, s, d, k in zip(g.shape[1:], stride, dilation, kernel, strict=True)]
    beyond = any(r > size + 2 * p for r, size, p in zip(reach, x.shape[1:], padding, strict=True))
    return g.add(MaxPool, x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, before=x.shape, ceil=ceil_mode and beyond)


def avg_pool2d(
    g: Draft,
    x: Wire,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Wire:
    """A convolution of each channel with equal weights; where zeros around do not count, divided place by place."""
    kernel, padding, stride = pair(kernel_size), pair(padding), pair(kernel_size if stride is None else stride)
    if ceil_mode and any((n + 2 * p - k) % s for n, p, k, s in zip(x.shape[1:], padding, kernel, stride, strict=True)):
        raise g.refuse("with ceil_mode and a window that reaches beyond the edge")
    channels = x.shape[0]
    ones = torch.ones(channels, 1, *kernel, dtype=torch.float64)
    if count_include_pad or divisor_override or padding == (0, 0):
        return conv2d(g, x, ones / (divisor_override or kernel[0] * kernel[1]), None, stride, padding, 1, channels)
    counts = F.conv2d(torch.ones(1, *x.shape, dtype=torch.float64), ones, None, stride, padding, 1, channels)[0]
    sums = conv2d(g, x, ones, None, stride, padding, 1, channels)
    return scaled(g, sums, 1 / counts, torch.zeros_like(counts))


def adaptive_avg_pool2d(g: Draft, x: Wire, output_size: Any) -> Wire:
    """A mean, a pooling with windows of one size, or else a matrix over all places of the image."""
    before, after = x.shape[1:], g.shape[1:]
    if before == after:
        return x
    if after == (1, 1):
        return g.add(Total, x, dims=(1, 2), factor=1 / (before[0] * before[1]), before=x.shape)
    if not any(b % a for b, a in zip(before, after, strict=True)):
        return avg_pool2d(g, x, (before[0] // after[0], before[1] // after[1]))
    weight = torch.kron(_shares(before[0], after[0]), _shares(before[1], after[1]))
    flat = g.add(Reshape, x, shape=(x.shape[0], math.prod(before)), before=x.shape)
    bias = torch.zeros(len(weight), dtype=torch.float64)
    pooled = g.add(Dense, flat, shape=(x.shape[0], len(weight)), weight=weight, bias=bias)
    return g.add(Reshape, pooled, before=pooled.shape)


def _shares(before: int, after: int) -> Tensor:
    """Along one side: what share each place has of each mean, (after, before); window i goes from i before / after down to up."""
    shares = torch.zeros(after, before, dtype=torch.float64)
    for i in range(after):
        start, end = i * before // after, -(-(i + 1) * before // after)
        shares[i, start:end] = 1 / (end - start)
    return shares


def adaptive_max_pool2d(g: Draft, x: Wire, output_size: Any, return_indices: bool = False) -> Wire:
    before, after = x.shape[1:], g.shape[1:]
    if return_indices or any(b % a for b, a in zip(before, after, strict=True)):
        raise g.refuse(f"with return_indices, or from {before} to {after}: windows of unequal size")
    return max_pool2d(g, x, (before[0] // after[0], before[1] // after[1]))


def _as_image(g: Draft, x: Wire, act: Callable[[Wire], Wire]) -> Wire:
    """An operator on (channels, length), done to an image of one row."""
    after = g.shape
    if len(x.shape) != 2:
        raise g.refuse(f"on rows of shape {x.shape}: they must be (channels, length)")
    image = g.add(Reshape, x, shape=(x.shape[0], 1, x.shape[1]), before=x.shape)
    g.shape = (after[0], 1, after[1])
    out = act(image)
    g.shape = after
    return g.add(Reshape, out, before=out.shape)


def _one(value: Any) -> int:
    return value if isinstance(value, int) else int(value[0])


def conv1d(
    g: Draft,
    x: Wire,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Wire:
    around = padding if isinstance(padding, str) else (0, _one(padding))
    return _as_image(g, x, lambda v: conv2d(g, v, weight[:, :, None], bias, (1, _one(stride)), around, (1, _one(dilation)), groups))


def max_pool1d(
    g: Draft,
    x: Wire,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Wire:
    kernel, step = (1, _one(kernel_size)), (1, _one(kernel_size if stride is None else stride))
    around, apart = (0, _one(padding)), (1, _one(dilation))
    return _as_image(g, x, lambda v: max_pool2d(g, v, kernel, step, around, apart, ceil_mode, return_indices))


def avg_pool1d(
    g: Draft, x: Wire, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Wire:
    kernel, step = (1, _one(kernel_size)), (1, _one(kernel_size if stride is None else stride))
    return _as_image(g, x, lambda v: avg_pool2d(g, v, kernel, step, (0, _one(padding)), ceil_mode, count_include_pad))


def adaptive_avg_pool1d(g: Draft, x: Wire, output_size: Any) -> Wire:
    return _as_image(g, x, lambda v: adaptive_avg_pool2d(g, v, None))


def adaptive_max_pool1d(g: Draft, x: Wire, output_size: Any, return_indices: bool = False) -> Wire:
    return _as_image(g, x, lambda v: adaptive_max_pool2d(g, v, None, return_indices))


POOLS: dict[Any, Any] = {
    F.conv1d: conv1d,
    torch.conv1d: conv1d,
    F.max_pool1d: max_pool1d,
    torch.max_pool1d: max_pool1d,
    F.max_pool2d: max_pool2d,
    torch.max_pool2d: max_pool2d,
    F.avg_pool1d: avg_pool1d,
    F.avg_pool2d: avg_pool2d,
    F.adaptive_avg_pool1d: adaptive_avg_pool1d,
    F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    F.adaptive_max_pool1d: adaptive_max_pool1d,
    F.adaptive_max_pool2d: adaptive_max_pool2d,
}
