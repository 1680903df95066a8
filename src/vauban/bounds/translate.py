"""Operators of PyTorch, told in operations of our own: one function for each, with the arguments of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vauban.bounds.affine import Conv, Dense, Reshape, Scale, Sum, Total
from vauban.bounds.ops import Op, Pair, Shape
from vauban.errors import Unsupported

BATCH = 3
"""Rows of the trial input; an operator that returns another number of rows couples them."""


@dataclass(frozen=True)
class Wire:
    """A value that depends on the input: its place among the operations, and one row's shape."""

    place: int
    shape: Shape


@dataclass
class Draft:
    """The operations written down so far.

    Attributes:
        shape: one row of what the operator now being translated returns.
        where: what the model calls it.
        what: the operator's name.
        closed: the kind of scores, once a softmax has ended the model.
    """

    ops: list[Op] = field(default_factory=list)
    shape: Shape = ()
    where: str = ""
    what: str = ""
    closed: str = ""

    def add(self, op: type[Op], /, *inputs: Wire, shape: Shape | None = None, **fields: Any) -> Wire:
        """Write down an operation; the wire that leaves it."""
        out = self.shape if shape is None else shape
        self.ops.append(op(inputs=tuple(w.place for w in inputs), shape=out, where=self.where, **fields))
        return Wire(len(self.ops), out)

    def parameter(self, t: Tensor) -> Tensor:
        """A number of the model, such as a weight, as operations hold it: in float64."""
        return t.detach().cpu().double().contiguous()

    def statistics(self, norm: Any) -> tuple[Tensor | None, Tensor | None]:
        """The mean and the variance that a batch norm divides out: those it has kept."""
        return norm.running_mean, norm.running_var

    def refuse(self, why: str = "") -> Unsupported:
        return Unsupported(
            f"unsupported operator: bounds do not know {self.what}{' ' * bool(why)}{why} (at {self.where}); attack this model without "
            "certificates, or write it with linear, convolution, batch norm, pooling, ReLU, sigmoid, tanh, GELU, additions and concatenations"
        )


Handler = Callable[..., Any]
"""Writes an operator down: the draft, and the operator's own arguments with wires for what depends on the input. It gives a wire, or several
for an operator that gives several tensors."""


def _bias(g: Draft, t: Tensor | None, weight: Tensor) -> Tensor:
    """The bias; zeros, one for each output of the weight, where there is none."""
    return torch.zeros(weight.shape[0], dtype=torch.float64) if t is None else g.parameter(t)


def pair(value: Any) -> Pair:
    """A number for each of two sides."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def linear(g: Draft, x: Wire, weight: Tensor, bias: Tensor | None = None) -> Wire:
    return g.add(Dense, x, weight=g.parameter(weight), bias=_bias(g, bias, weight))


def conv2d(
    g: Draft,
    x: Wire,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Wire:
    dilation, spans = pair(dilation), weight.shape[2:]
    if isinstance(padding, str):
        around = [0, 0] if padding == "valid" else [d * (k - 1) for d, k in zip(dilation, spans, strict=True)]
        if any(p % 2 for p in around):
            raise g.refuse("with padding='same' and a kernel of even size")
        padding = [p // 2 for p in around]
    return g.add(
        Conv,
        x,
        weight=g.parameter(weight),
        bias=_bias(g, bias, weight),
        stride=pair(stride),
        padding=pair(padding),
        dilation=dilation,
        groups=groups,
        before=x.shape,
    )


def scaled(g: Draft, x: Wire, scale: Tensor, shift: Tensor, weight_of_shift: Tensor | None = None) -> Wire:
    return g.add(Scale, x, scale=scale, shift=shift, weight_of_shift=shift.abs() if weight_of_shift is None else weight_of_shift)


def batch_norm(
    g: Draft,
    x: Wire,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Wire:
    if training or running_mean is None or running_var is None:
        raise g.refuse("with statistics of the batch: rows are then coupled")
    scale = (g.parameter(running_var) + eps).rsqrt() * (1.0 if weight is None else g.parameter(weight))
    shift = torch.zeros_like(scale) if bias is None else g.parameter(bias)
    about = g.parameter(running_mean) * scale
    spread = (-1, *[1] * (len(x.shape) - 1))
    return scaled(g, x, scale.view(spread), (shift - about).view(spread), (shift.abs() + about.abs()).view(spread))


def softmax(g: Draft, x: Wire, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Wire:
    return _closed(g, x, dim, "probabilities")


def log_softmax(g: Draft, x: Wire, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Wire:
    return _closed(g, x, dim, "log-probabilities")


def _closed(g: Draft, x: Wire, dim: int | None, kind: str) -> Wire:
    """An end that keeps the order of the scores: bounds are those of what enters it, so that nothing may follow."""
    if len(x.shape) != 1 or dim not in (1, -1):
        raise g.refuse("except over the classes, at the end of the model")
    g.closed = kind
    return x


def dropout(g: Draft, x: Wire, p: float = 0.5, training: bool = True, inplace: bool = False) -> Wire:
    if training and p:
        raise g.refuse("that is on in evaluation mode: the answer is then random")
    return x


def _totalled(g: Draft, x: Wire, dim: Any, *, mean: bool) -> Wire:
    if dim is None:
        raise g.refuse("over the whole batch: rows are then coupled")
    given = [dim] if isinstance(dim, int) else list(dim)
    dims = tuple(sorted({d % (len(x.shape) + 1) - 1 for d in given}))
    if -1 in dims:
        raise g.refuse("over the batch: rows are then coupled")
    count = 1
    for d in dims:
        count *= x.shape[d]
    return g.add(Total, x, dims=dims, factor=1 / count if mean else 1.0, before=x.shape)


def mean(g: Draft, x: Wire, dim: Any = None, keepdim: bool = False) -> Wire:
    return _totalled(g, x, dim, mean=True)


def total(g: Draft, x: Wire, dim: Any = None, keepdim: bool = False) -> Wire:
    return _totalled(g, x, dim, mean=False)


def _constant(g: Draft, value: Any, x: Wire) -> Tensor:
    """A number or tensor that meets rows of x, in float64 and broadcastable to one row."""
    t = g.parameter(value) if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    if t.ndim > len(x.shape):
        if t.ndim > len(x.shape) + 1 or t.shape[0] != 1:
            raise g.refuse(f"with a constant of shape {tuple(t.shape)}: it must be the same for every row")
        t = t[0]
    if g.shape != x.shape:
        raise g.refuse(f"that broadcasts {x.shape} to {g.shape}")
    return t


def add(g: Draft, x: Any, y: Any, alpha: float = 1, sign: float = 1.0) -> Wire:
    """x + sign * alpha * y, of two values of the model or one and a constant."""
    factor = sign * alpha
    if isinstance(x, Wire) and isinstance(y, Wire):
        if x.shape != y.shape or abs(factor) != 1:
            raise g.refuse(f"of shapes {x.shape} and {y.shape} with factor {factor:g}")
        return g.add(Sum, x, y, signs=(1.0, factor))
    if isinstance(x, Wire):
        shift = factor * _constant(g, y, x)
        return scaled(g, x, torch.ones_like(shift), shift)
    shift = _constant(g, x, y)
    return scaled(g, y, torch.full_like(shift, factor), shift)


def subtract(g: Draft, x: Any, y: Any, alpha: float = 1) -> Wire:
    return add(g, x, y, alpha, -1.0)


def subtracted_from(g: Draft, x: Any, y: Any, alpha: float = 1) -> Wire:
    return add(g, y, x, alpha, -1.0)


def multiply(g: Draft, x: Any, y: Any) -> Wire:
    if isinstance(x, Wire) and isinstance(y, Wire):
        raise g.refuse("of two values that depend on the input")
    wire, value = (x, y) if isinstance(x, Wire) else (y, x)
    scale = _constant(g, value, wire)
    return scaled(g, wire, scale, torch.zeros_like(scale))


def divide(g: Draft, x: Any, y: Any) -> Wire:
    if isinstance(y, Wire):
        raise g.refuse("by a value that depends on the input")
    scale = 1 / _constant(g, y, x)
    return scaled(g, x, scale, torch.zeros_like(scale))


def negative(g: Draft, x: Wire) -> Wire:
    one = torch.ones((), dtype=torch.float64)
    return scaled(g, x, -one, 0 * one)


def matmul(g: Draft, x: Any, y: Any) -> Wire:
    if not isinstance(x, Wire) or not isinstance(y, Tensor) or y.ndim > 2:
        raise g.refuse("unless rows are multiplied by a constant matrix or vector")
    weight = y.T if y.ndim == 2 else y[None]
    out = g.add(Dense, x, shape=(*x.shape[:-1], len(weight)), weight=g.parameter(weight), bias=_bias(g, None, weight))
    return out if y.ndim == 2 else g.add(Reshape, out, before=out.shape)
