"""Operators of PyTorch that bend, told in operations of our own: ReLU and what is made of ReLUs, sigmoid and tanh, GELU and its kin."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.bounds.bends import Curve, Relu, Smooth
from vauban.bounds.translate import Draft, Wire, add, divide, negative, subtract, subtracted_from


def relu(g: Draft, x: Wire, inplace: bool = False) -> Wire:
    return g.add(Relu, x)


def leaky_relu(g: Draft, x: Wire, negative_slope: float = 0.01, inplace: bool = False) -> Wire:
    if not 0 <= negative_slope <= 1:
        raise g.refuse(f"with slope {negative_slope:g} outside [0, 1]")
    return g.add(Relu, x, slope=float(negative_slope))


def prelu(g: Draft, x: Wire, weight: Tensor) -> Wire:
    if weight.numel() != 1:
        raise g.refuse("with a slope for each channel")
    return leaky_relu(g, x, float(weight))


def sigmoid(g: Draft, x: Wire) -> Wire:
    return g.add(Curve, x, kind="sigmoid")


def tanh(g: Draft, x: Wire) -> Wire:
    return g.add(Curve, x, kind="tanh")


def gelu(g: Draft, x: Wire, approximate: str = "none") -> Wire:
    return g.add(Smooth, x, kind="gelu" if approximate == "none" else "gelu-tanh")


def silu(g: Draft, x: Wire, inplace: bool = False) -> Wire:
    return g.add(Smooth, x, kind="silu")


def elu(g: Draft, x: Wire, alpha: float = 1.0, inplace: bool = False) -> Wire:
    if alpha != 1:
        raise g.refuse(f"with alpha {alpha:g} other than 1")
    return g.add(Smooth, x, kind="elu")


def softplus(g: Draft, x: Wire, beta: float = 1, threshold: float = 20) -> Wire:
    if (beta, threshold) != (1, 20):
        raise g.refuse("with a beta or threshold of its own")
    return g.add(Smooth, x, kind="softplus")


def clamp(g: Draft, x: Wire, min: Any = None, max: Any = None) -> Wire:  # PyTorch's names
    """max - relu(max - (min + relu(x - min))), or the half of it that is asked for."""
    if isinstance(min, Wire) or isinstance(max, Wire):
        raise g.refuse("between limits that depend on the input")
    if min is not None:
        x = add(g, relu(g, subtract(g, x, min)), min)
    return x if max is None else subtracted_from(g, relu(g, subtracted_from(g, x, max)), max)


def hardtanh(g: Draft, x: Wire, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Wire:
    return clamp(g, x, min_val, max_val)


def relu6(g: Draft, x: Wire, inplace: bool = False) -> Wire:
    return clamp(g, x, 0.0, 6.0)


def hardsigmoid(g: Draft, x: Wire, inplace: bool = False) -> Wire:
    return divide(g, clamp(g, add(g, x, 3.0), 0.0, 6.0), 6.0)


def absolute(g: Draft, x: Wire) -> Wire:
    """relu(x) + relu(-x)"""
    return add(g, relu(g, x), relu(g, negative(g, x)))


def maximum(g: Draft, x: Any, y: Any) -> Wire:
    """y + relu(x - y)"""
    return add(g, y, relu(g, subtract(g, x, y)))


def minimum(g: Draft, x: Any, y: Any) -> Wire:
    """y - relu(y - x)"""
    return subtract(g, y, relu(g, subtract(g, y, x)))


CURVES: dict[Any, Any] = {
    F.relu: relu,
    F.relu_: relu,
    torch.relu: relu,
    torch.relu_: relu,
    F.leaky_relu: leaky_relu,
    F.prelu: prelu,
    torch.prelu: prelu,
    F.relu6: relu6,
    F.hardtanh: hardtanh,
    F.hardsigmoid: hardsigmoid,
    F.sigmoid: sigmoid,
    torch.sigmoid: sigmoid,
    F.tanh: tanh,
    torch.tanh: tanh,
    F.gelu: gelu,
    F.silu: silu,
    F.elu: elu,
    F.softplus: softplus,
    torch.clamp: clamp,
    torch.clip: clamp,
    torch.abs: absolute,
    torch.maximum: maximum,
    torch.minimum: minimum,
}
