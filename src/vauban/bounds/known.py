"""The operators of PyTorch that bounds know, as functions, methods and modules."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vauban.bounds import bending, moving, pooling
from vauban.bounds.translate import (
    Draft,
    Handler,
    Wire,
    add,
    batch_norm,
    conv2d,
    divide,
    dropout,
    linear,
    log_softmax,
    matmul,
    mean,
    multiply,
    negative,
    softmax,
    subtract,
    total,
)

FUNCTIONS: dict[Any, Handler] = {
    **bending.CURVES,
    **moving.MOVES,
    **pooling.POOLS,
    F.linear: linear,
    F.conv2d: conv2d,
    torch.conv2d: conv2d,
    F.batch_norm: batch_norm,
    F.dropout: dropout,
    F.dropout1d: dropout,
    F.dropout2d: dropout,
    F.softmax: softmax,
    torch.softmax: softmax,
    F.log_softmax: log_softmax,
    torch.log_softmax: log_softmax,
    torch.mean: mean,
    torch.sum: total,
    torch.matmul: matmul,
    operator.matmul: matmul,
    operator.add: add,
    operator.iadd: add,
    torch.add: add,
    operator.sub: subtract,
    operator.isub: subtract,
    torch.sub: subtract,
    operator.mul: multiply,
    operator.imul: multiply,
    torch.mul: multiply,
    operator.truediv: divide,
    operator.itruediv: divide,
    torch.div: divide,
    operator.neg: negative,
    torch.neg: negative,
}

METHODS: dict[str, Handler] = {
    **moving.METHODS_THAT_MOVE,
    **dict.fromkeys(("relu", "relu_"), bending.relu),
    **dict.fromkeys(("clamp", "clamp_", "clip"), bending.clamp),
    "clamp_min": bending.clamp,
    "clamp_max": lambda g, x, max: bending.clamp(g, x, None, max),
    "abs": bending.absolute,
    "sigmoid": bending.sigmoid,
    "tanh": bending.tanh,
    **dict.fromkeys(("add", "add_"), add),
    **dict.fromkeys(("sub", "sub_"), subtract),
    **dict.fromkeys(("mul", "mul_"), multiply),
    **dict.fromkeys(("div", "div_"), divide),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "mean": mean,
    "sum": total,
    "matmul": matmul,
    "neg": negative,
}


def _convolution(g: Draft, m: Any, x: Wire) -> Wire:
    """With zeros around; what else a layer puts around is moved there first."""
    act: Handler = conv2d if isinstance(m, nn.Conv2d) else pooling.conv1d
    if m.padding_mode == "zeros":
        return act(g, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)
    if isinstance(m.padding, str):
        raise g.refuse(f"with padding={m.padding!r} and padding_mode={m.padding_mode!r}")
    wide = moving.pad(g, x, [p for p in reversed(m.padding) for _ in (0, 1)], m.padding_mode)
    return act(g, wide, m.weight, m.bias, m.stride, 0, m.dilation, m.groups)


def _batch_norm(g: Draft, m: Any, x: Wire) -> Wire:
    coupled = m.running_mean is None
    return batch_norm(g, x, *g.statistics(m), m.weight, m.bias, coupled, m.momentum, m.eps)


def _max_pool(g: Draft, m: Any, x: Wire) -> Wire:
    act: Handler = pooling.max_pool2d if isinstance(m, nn.MaxPool2d) else pooling.max_pool1d
    return act(g, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices)


def _avg_pool2d(g: Draft, m: nn.AvgPool2d, x: Wire) -> Wire:
    return pooling.avg_pool2d(g, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override)


def _moves(g: Draft, m: nn.Module, x: Wire) -> Any:
    return moving.moved(g, m, x)


def _padded(g: Draft, m: Any, x: Wire) -> Wire:
    if isinstance(m, nn.ConstantPad1d | nn.ConstantPad2d) and m.value:
        raise g.refuse(f"with {m.value:g}: only zeros")
    return moving.moved(g, m, x)


MODULES: dict[type[nn.Module], Handler] = {
    nn.Linear: lambda g, m, x: linear(g, x, m.weight, m.bias),
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: lambda g, m, x: bending.relu(g, x),
    nn.ReLU6: lambda g, m, x: bending.relu6(g, x),
    nn.Hardtanh: lambda g, m, x: bending.hardtanh(g, x, m.min_val, m.max_val),
    nn.Hardsigmoid: lambda g, m, x: bending.hardsigmoid(g, x),
    nn.LeakyReLU: lambda g, m, x: bending.leaky_relu(g, x, m.negative_slope),
    nn.PReLU: lambda g, m, x: bending.prelu(g, x, m.weight),
    nn.Sigmoid: lambda g, m, x: bending.sigmoid(g, x),
    nn.Tanh: lambda g, m, x: bending.tanh(g, x),
    nn.GELU: lambda g, m, x: bending.gelu(g, x, m.approximate),
    nn.SiLU: lambda g, m, x: bending.silu(g, x),
    nn.ELU: lambda g, m, x: bending.elu(g, x, m.alpha),
    nn.Softplus: lambda g, m, x: bending.softplus(g, x, m.beta, m.threshold),
    nn.Softmax: lambda g, m, x: softmax(g, x, m.dim),
    nn.LogSoftmax: lambda g, m, x: log_softmax(g, x, m.dim),
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool1d: lambda g, m, x: pooling.avg_pool1d(g, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad),
    nn.AvgPool2d: _avg_pool2d,
    nn.AdaptiveAvgPool1d: lambda g, m, x: pooling.adaptive_avg_pool1d(g, x, m.output_size),
    nn.AdaptiveAvgPool2d: lambda g, m, x: pooling.adaptive_avg_pool2d(g, x, m.output_size),
    nn.AdaptiveMaxPool1d: lambda g, m, x: pooling.adaptive_max_pool1d(g, x, m.output_size, m.return_indices),
    nn.AdaptiveMaxPool2d: lambda g, m, x: pooling.adaptive_max_pool2d(g, x, m.output_size, m.return_indices),
    nn.Flatten: lambda g, m, x: moving.reshape(g, x),
    nn.Unflatten: lambda g, m, x: moving.reshape(g, x),
    nn.Identity: lambda g, m, x: x,
    nn.Dropout: lambda g, m, x: dropout(g, x, m.p, m.training),
    nn.Dropout1d: lambda g, m, x: dropout(g, x, m.p, m.training),
    nn.Dropout2d: lambda g, m, x: dropout(g, x, m.p, m.training),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d), _padded),
    **dict.fromkeys((nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.UpsamplingNearest2d), _moves),
}
