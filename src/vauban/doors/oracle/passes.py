"""Passes of a model over many rows: in chunks that fit, and smaller ones when memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from vauban.errors import BadTarget

Parts = tuple[Tensor | None, ...]


class Chunks:
    """Runs a function over slices of rows and joins what it returns.

    Args:
        most: rows in one slice at the start. Halved, for good, whenever the device runs out of memory; the slice is then run again, and
            `halved` says so.
    """

    halved = False

    def __init__(self, most: int) -> None:
        self.most = max(int(most), 1)

    def run(self, rows: int, function: Callable[[slice], Parts]) -> Parts:
        """`function(slice)` returns tensors with one entry a row of the slice (or None); all slices, joined.

        Raises:
            BadTarget: not even one row fits.
        """
        if rows <= self.most:
            try:
                return function(slice(0, rows))
            except RuntimeError as error:
                self.halve(error, rows)
        parts: list[Parts] = []
        start = 0
        while start < rows:
            stop = min(start + self.most, rows)
            try:
                parts.append(function(slice(start, stop)))
            except RuntimeError as error:
                self.halve(error, stop - start)
            else:
                start = stop
        return tuple(_joined(column) for column in zip(*parts, strict=True))

    def whole(self, rows: int, function: Callable[[slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """`run`, for a function that returns every tensor of its tuple."""
        return cast("tuple[Tensor, ...]", self.run(rows, function))

    def halve(self, error: RuntimeError, tried: int) -> None:
        """Take smaller slices from now on, if memory was the trouble; otherwise raise what it was."""
        if not out_of_memory(error):
            raise error
        if tried <= 1:
            raise BadTarget("out of memory with a single row; the model does not fit this device") from error
        self.most, self.halved = max(min(self.most, tried) // 2, 1), True
        error.__traceback__ = None  # it holds the tensors that did not fit
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device ran out of memory: CUDA and MPS raise a class of their own, the CPU allocator only a message."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _joined(column: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [part for part in column if part is not None]
    return torch.cat(present) if present else None


def gradient_of(values: Tensor, leaf: Tensor) -> Tensor:
    """Gradients of values (m,) or (m, k) in leaf (m, *shape): (m, *shape) or (m, k, *shape). Zero where the model cuts the gradient."""
    if not values.requires_grad:
        return torch.zeros_like(leaf) if values.ndim == 1 else leaf.new_zeros(len(leaf), values.shape[1], *leaf.shape[1:])
    if values.ndim == 1:
        # a sum costs some microseconds more than ones to start from, but those make torch import a quarter of a second of other things
        gradient = torch.autograd.grad(values.sum(), leaf, allow_unused=True)[0]
        return torch.zeros_like(leaf) if gradient is None else gradient  # pyright: ignore[reportUnnecessaryComparison]
    columns = values.shape[1]
    totals = values.sum(0)
    each = [
        torch.autograd.grad(totals[k], leaf, retain_graph=k < columns - 1, allow_unused=True, materialize_grads=True)[0]
        for k in range(columns)
    ]
    return torch.stack(each, 1)
