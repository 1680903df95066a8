"""The operators of PyTorch that bounds know, as functions, methods and modules."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vauban.bounds.translate import (
    Draft,
    Handler,
    Wire,
    adaptive_avg_pool2d,
    add,
    avg_pool2d,
    batch_norm,
    conv2d,
    divide,
    dropout,
    leaky_relu,
    linear,
    log_softmax,
    matmul,
    max_pool2d,
    mean,
    multiply,
    negative,
    relu,
    reshape,
    same,
    sigmoid,
    softmax,
    subtract,
    tanh,
    total,
)

FUNCTIONS: dict[Any, Handler] = {
    F.linear: linear,
    F.conv2d: conv2d,
    torch.conv2d: conv2d,
    F.batch_norm: batch_norm,
    F.dropout: dropout,
    F.dropout2d: dropout,
    F.relu: relu,
    F.relu_: relu,
    torch.relu: relu,
    torch.relu_: relu,
    F.leaky_relu: leaky_relu,
    F.softmax: softmax,
    torch.softmax: softmax,
    F.log_softmax: log_softmax,
    torch.log_softmax: log_softmax,
    F.sigmoid: sigmoid,
    torch.sigmoid: sigmoid,
    F.tanh: tanh,
    torch.tanh: tanh,
    F.max_pool2d: max_pool2d,
    torch.max_pool2d: max_pool2d,
    F.avg_pool2d: avg_pool2d,
    F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    torch.flatten: reshape,
    torch.reshape: reshape,
    torch.squeeze: reshape,
    torch.unsqueeze: reshape,
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
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze"), reshape),
    **dict.fromkeys(("contiguous", "clone", "detach"), same),
    **dict.fromkeys(("relu", "relu_"), relu),
    **dict.fromkeys(("add", "add_"), add),
    **dict.fromkeys(("sub", "sub_"), subtract),
    **dict.fromkeys(("mul", "mul_"), multiply),
    **dict.fromkeys(("div", "div_"), divide),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "mean": mean,
    "sum": total,
    "matmul": matmul,
    "neg": negative,
}


def _conv2d(g: Draft, m: nn.Conv2d, x: Wire) -> Wire:
    if m.padding_mode != "zeros":
        raise g.refuse(f"with padding_mode={m.padding_mode!r}")
    return conv2d(g, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)


def _batch_norm(g: Draft, m: Any, x: Wire) -> Wire:
    coupled = m.running_mean is None
    return batch_norm(g, x, m.running_mean, m.running_var, m.weight, m.bias, coupled, m.momentum, m.eps)


def _max_pool2d(g: Draft, m: nn.MaxPool2d, x: Wire) -> Wire:
    return max_pool2d(g, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices)


def _avg_pool2d(g: Draft, m: nn.AvgPool2d, x: Wire) -> Wire:
    return avg_pool2d(g, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override)


MODULES: dict[type[nn.Module], Handler] = {
    nn.Linear: lambda g, m, x: linear(g, x, m.weight, m.bias),
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: lambda g, m, x: relu(g, x),
    nn.LeakyReLU: lambda g, m, x: leaky_relu(g, x, m.negative_slope),
    nn.Sigmoid: lambda g, m, x: sigmoid(g, x),
    nn.Softmax: lambda g, m, x: softmax(g, x, m.dim),
    nn.LogSoftmax: lambda g, m, x: log_softmax(g, x, m.dim),
    nn.Tanh: lambda g, m, x: tanh(g, x),
    nn.MaxPool2d: _max_pool2d,
    nn.AvgPool2d: _avg_pool2d,
    nn.AdaptiveAvgPool2d: lambda g, m, x: adaptive_avg_pool2d(g, x, m.output_size),
    nn.Flatten: lambda g, m, x: reshape(g, x),
    nn.Unflatten: lambda g, m, x: reshape(g, x),
    nn.Identity: lambda g, m, x: x,
    nn.Dropout: lambda g, m, x: dropout(g, x, m.p, m.training),
    nn.Dropout2d: lambda g, m, x: dropout(g, x, m.p, m.training),
}
