"""Operators of PyTorch that move numbers and compute nothing, told in operations of our own."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate
from torch.nn import functional as F

from vauban.bounds.affine import Join, Pick, Reshape
from vauban.bounds.translate import BATCH, Draft, Handler, Wire


def reshape(g: Draft, x: Wire, *sizes: Any, **named: Any) -> Wire:
    """view, reshape, flatten, squeeze, unsqueeze: what shape comes out was seen when the model ran."""
    return x if g.shape == x.shape else g.add(Reshape, x, before=x.shape)


def same(g: Draft, x: Wire, *args: Any, **named: Any) -> Wire:
    return x


def cat(g: Draft, tensors: Any, dim: int = 0) -> Wire:
    """Values of the model one after the other; at least one, and no constants."""
    if not all(isinstance(w, Wire) for w in tensors):
        raise g.refuse("of constants")
    along = dim % (len(g.shape) + 1) - 1
    if along < 0:
        raise g.refuse("along the batch: rows are then coupled")
    return g.add(Join, *tensors, dim=along, sizes=tuple(w.shape[along] for w in tensors))


def stack(g: Draft, tensors: Any, dim: int = 0) -> Wire:
    """Each with a dimension more, of size 1, and then one after the other."""
    along = dim % (len(g.shape) + 1)
    if along == 0 or not all(isinstance(w, Wire) for w in tensors):
        raise g.refuse("along the batch, or of constants")
    shape = (*g.shape[: along - 1], 1, *g.shape[along:])
    return cat(g, [g.add(Reshape, w, shape=shape, before=w.shape) for w in tensors], along)


def item(g: Draft, x: Any, index: Any) -> Any:
    """One of several values, or a part of one."""
    return x[index] if isinstance(x, tuple) else moved(g, operator.getitem, x, index)


def pad(g: Draft, x: Wire, pad: Any, mode: str = "constant", value: float | None = None) -> Wire:  # PyTorch's names
    if value:
        raise g.refuse(f"with {value:g}: only zeros, or values of the image itself")
    return moved(g, F.pad, x, pad, mode)


def interpolate(g: Draft, x: Wire, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **named: Any) -> Wire:
    if not mode.startswith("nearest"):
        raise g.refuse(f"with mode {mode!r}; only nearest")
    return moved(g, F.interpolate, x, size, scale_factor, mode, **named)


def moves(function: Callable[..., Any]) -> Handler:
    """The handler of a function that only moves numbers, and puts zeros where none are."""

    def handler(g: Draft, x: Wire, *args: Any, **named: Any) -> Any:
        return moved(g, function, x, *args, **named)

    return handler


def moved(g: Draft, function: Callable[..., Any], x: Wire, *args: Any, **named: Any) -> Any:
    """What the function does to numbered features says where each comes from; a wire for each tensor that it gives."""
    count = 1
    for size in x.shape:
        count *= size
    numbers = torch.arange(1, BATCH * count + 1, dtype=torch.float64).view(BATCH, *x.shape)
    given: Any = map_aggregate((args, named), lambda a: a.cpu() if isinstance(a, Tensor) else a)
    found = function(numbers, *given[0], **given[1])
    return _picked(g, x, count, found) if isinstance(found, Tensor) else tuple(_picked(g, x, count, t) for t in found)


def _picked(g: Draft, x: Wire, count: int, found: Tensor) -> Wire:
    first = count * torch.arange(BATCH).view(-1, *[1] * (found.ndim - 1))
    source = torch.where(found > 0, found.long() - 1 - first, -1)
    if len(found) != BATCH or bool((source != source[0]).any() | (source < -1).any() | (source >= count).any()):
        raise g.refuse("across rows: they are then coupled")
    source, shape = source[0], tuple(found.shape[1:])
    if shape == x.shape and torch.equal(source.flatten(), torch.arange(count)):
        return x
    return g.add(Pick, x, shape=shape, source=source, before=x.shape)


def _method(name: str) -> Handler:
    return moves(lambda t, *args, **named: getattr(t, name)(*args, **named))


MOVES: dict[Any, Any] = {
    **dict.fromkeys((torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze), reshape),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), cat),
    torch.stack: stack,
    operator.getitem: item,
    F.pad: pad,
    F.interpolate: interpolate,
    **{
        f: moves(f)
        for f in (
            torch.permute, torch.transpose, torch.swapaxes, torch.movedim, torch.narrow, torch.select, torch.flip, torch.roll,
            torch.chunk, torch.split, torch.unbind, torch.tile, F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle,
        )
    },
}  # fmt: skip

METHODS_THAT_MOVE: dict[str, Any] = {
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten"), reshape),
    **dict.fromkeys(("contiguous", "clone", "detach"), same),
    **{
        name: _method(name)
        for name in (
            "permute", "transpose", "swapaxes", "movedim", "narrow", "select", "flip", "roll",
            "chunk", "split", "unbind", "tile", "repeat", "expand",
        )
    },
}  # fmt: skip
