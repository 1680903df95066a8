"""How fast the scores of a network can change at all: a bound of its Lipschitz constant in L2, and the certificates that follow.

The constant of a chain of operations is at most the product of theirs (Szegedy et al. 2014, arXiv:1312.6199, section 4.3). A row whose margin over
a class is m keeps it within L2 distance m / L, where L bounds how fast the difference of the two scores changes: for a last layer W,
||W_y - W_j|| times the constant of what comes before (Tsuzuku et al. 2018, arXiv:1802.04034). Cheap and global: one constant for all inputs; loose
for networks that were not trained to have a small one.

Norms of operators are bounded from above, in float64: by the singular value that LAPACK finds, widened by what it may be off; by
sqrt(||W||_1 ||W||_inf), which is no more than sums; by the kernel's own norm, times in how many windows a feature stands. The least is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vauban.bounds.affine import Conv, Dense, Exact, Join, Pick, Scale, Sum, Total
from vauban.bounds.bends import Curve, MaxPool, Relu, Smooth
from vauban.bounds.certificate import Certificate
from vauban.bounds.interval import GUARD
from vauban.bounds.limits import limits_of
from vauban.bounds.network import Network, network_of
from vauban.bounds.ops import Affine, Bend, Op, Shape, matrix_of
from vauban.bounds.pieces import STEEPEST
from vauban.bounds.region import INF, Region
from vauban.errors import BadData, BadPlan, Unsupported
from vauban.geometry import body_of
from vauban.target import Target
from vauban.threat import Ball

WRITTEN_OUT = 1 << 22
"""Entries of a convolution that is written out as a matrix for its exact norm: 32 MiB."""
LAPACK = 64.0
"""The singular values of an m x n matrix are right to this many units of roundoff times m + n, relative to the largest (LAPACK Users' Guide,
section 4.9: a modestly growing function of the size, in practice below 10)."""
STEEP = {"sigmoid": 0.25, "tanh": 1.0, "gelu": 1.1290, "gelu-tanh": 1.1290, "silu": 1.0999, "elu": 1.0, "softplus": 1.0}
"""The steepest slopes of curves; those of GELU, its tanh form and SiLU are 1.12890, 1.12900 and 1.09984."""


@dataclass(frozen=True)
class Lipschitz:
    """Bounds of L2 Lipschitz constants of a network.

    Attributes:
        upto: from the input to each place (0 is the input itself).
        onward: from each place to the scores.
        lead: how fast one score's lead over another can grow with the input, (classes, classes); 0 on the diagonal.
    """

    upto: tuple[float, ...]
    onward: tuple[float, ...]
    lead: Tensor

    @property
    def constant(self) -> float:
        """Of all scores together."""
        return self.upto[-1]


def lipschitz(network: Network) -> Lipschitz:
    """Bounds of the constants of a network.

    Raises:
        Unsupported: an operator whose slope is not known.

    >>> from torch import nn
    >>> from vauban.target import Torch
    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    >>> for layer in (model[0], model[2]): _ = layer.weight.data.copy_(2 * torch.eye(2))
    >>> round(lipschitz(network_of(Torch(model, outputs="logits"), torch.zeros(1, 2))).constant, 6)
    4.0
    """
    shapes = [network.shape, *(op.shape for op in network.ops)]
    steep = [_steepness(op, [shapes[i] for i in op.inputs]) for op in network.ops]
    upto = [1.0]
    for op, each in zip(network.ops, steep, strict=True):
        upto.append(_joined(op, [s * upto[i] for i, s in zip(op.inputs, each, strict=True)]))
    onward = [0.0] * len(network.ops) + [1.0]
    for place in range(len(network.ops), 0, -1):
        for source, s in zip(network.ops[place - 1].inputs, steep[place - 1], strict=True):
            onward[source] += s * onward[place]
    return Lipschitz(tuple(upto), tuple(onward), _leads(network, upto))


def certify_lipschitz(target: Target, x: Tensor, y: Tensor, ball: Ball, *, wins: Tensor | None = None) -> Certificate:
    """Prove rows robust in an L2 ball by their margins and the Lipschitz constant of the network.

    Args:
        target: a PyTorch module of operators that bounds know.
        x: float (n, *shape), clean rows inside the ball's box.
        y: int64 (n,), true classes.
        ball: of norm 2, or of norm 1, which lies inside the one of norm 2; its box does not matter.
        wins: bool (n, classes), the classes whose being answered is a success; by default all but the true one.

    Returns:
        For each row the least lead, over the ball, of the true class over those that win; what the deployed model's rounding can do is taken off.

    Raises:
        BadPlan: a ball of another norm, or without a radius.
        Unsupported, BadData, BadTarget: as `vauban.bounds.certify`.
    """
    if ball.norm not in (1.0, 2.0) or ball.eps == INF:
        raise BadPlan(f"Lipschitz certificates are for balls of norm 2 or 1 with a radius, and this is {ball.text()}")
    network = network_of(target, x)
    found = lipschitz(network)
    if y.shape != (len(x),) or (len(y) and not 0 <= int(y.min()) <= int(y.max()) < network.classes):
        raise BadData(f"certify: y must be {len(x)} class numbers from 0 to {network.classes - 1}, one for each row of x")
    x, y = x.to(network.device), y.to(network.device)
    radius = torch.full((len(x),), ball.eps, dtype=torch.float64, device=x.device)
    region = Region.of(body_of(ball, x), x, radius)
    others = torch.arange(network.classes, device=y.device) != y[:, None]
    with torch.no_grad():
        z = network(x)
        lead = z.gather(1, y[:, None]) - z
        fall = found.lead.to(z)[y] * (region.eps[:, None] * (1 + GUARD))
        loss = 2 * _rounded(network, found, region)[:, None]
        margin = (lead - fall - loss).masked_fill(~(others if wins is None else wins.to(z.device)), INF).amin(1) - network.resolution
    margin = margin.masked_fill(margin.isnan(), -INF)
    return Certificate(margin, margin > 0)


def _rounded(network: Network, found: Lipschitz, region: Region) -> Tensor:
    """By how much the deployed model's scores may differ, in L2, from those computed exactly, anywhere in the region: (n,).

    What every operation may be off for the inputs it is given, times how much of it reaches the scores.
    """
    known = limits_of(network.ops, region, network.rounding, "interval")
    total = region.eps.new_zeros(len(region.x))
    for place, limits in enumerate(known):
        if limits.slack is not None:
            off = limits.slack.expand_as(limits.lo).flatten(1)
            total = total + torch.linalg.vector_norm(off, dim=1) * found.onward[place]
    return total * (1 + 2.0**-30)


def _leads(network: Network, upto: Sequence[float]) -> Tensor:
    """(classes, classes): how fast score i less score j can change."""
    last = network.ops[-1]
    if isinstance(last, Dense):
        apart = torch.cdist(last.weight, last.weight, compute_mode="donot_use_mm_for_euclid_dist")
        return apart * (1 + (last.weight.shape[1] + 8) * GUARD) * upto[last.inputs[0]]
    distinct = 1 - torch.eye(network.classes, dtype=torch.float64, device=network.device)
    return distinct * (math.sqrt(2) * (1 + GUARD) * upto[-1])


def _joined(op: Op, parts: list[float]) -> float:
    """The constant of an operation's output from those of its inputs, each times its own steepness."""
    return (math.hypot(*parts) if isinstance(op, Join) else sum(parts)) * (1 + GUARD)


def _steepness(op: Op, before: Sequence[Shape]) -> list[float]:
    """How fast the output changes with each input, in L2."""
    if isinstance(op, Bend):
        return [_of_bend(op)]
    if isinstance(op, Sum):
        return [abs(sign) for sign in op.signs]
    if isinstance(op, Exact):  # moves, keeps or drops numbers
        return [1.0] * len(op.inputs)
    if not isinstance(op, Affine):
        raise Unsupported(f"Lipschitz bounds do not know {type(op).__name__} (at {op.where})")
    return [NORMS[type(op)](op, before[0]) if type(op) in NORMS else norm_of_matrix(matrix_of(op, before[0])[0])]


def _of_bend(op: Bend) -> float:
    if isinstance(op, Relu):
        return max(1.0, op.slope)
    if isinstance(op, Curve):
        return STEEP[op.kind]
    if isinstance(op, Smooth):
        return STEEP.get(op.kind, STEEPEST)
    if isinstance(op, MaxPool):  # each output follows one input, and an input is followed in all windows that it stands in
        return math.sqrt(_windows(op.kernel, op.stride, op.dilation))
    raise Unsupported(f"Lipschitz bounds do not know the slope of {type(op).__name__} (at {op.where})")


def _windows(kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> int:
    """In how many windows a feature can stand, at most."""
    return math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in zip(kernel, stride, dilation, strict=True))


def norm_of_matrix(w: Tensor) -> float:
    """An upper bound of the largest singular value of a float64 matrix (m, n)."""
    m, n = w.shape
    size = w.abs()
    sums = math.sqrt(float(size.sum(0).amax()) * float(size.sum(1).amax())) * (1 + (m + n) * GUARD)
    if min(m, n) > 4096:
        return sums
    exact = float(torch.linalg.svdvals(w)[0]) * (1 + LAPACK * (m + n) * 2.0**-53)
    return min(sums, exact) if math.isfinite(exact) else sums


def _of_dense(op: Dense, before: Shape) -> float:
    return norm_of_matrix(op.weight)


def _of_conv(op: Conv, before: Shape) -> float:
    """The least of: the exact norm, where it can be written out; sums of absolute values; the kernel's norm times the root of its windows."""
    inside, outside = math.prod(before), math.prod(op.shape)
    if inside * outside <= WRITTEN_OUT:
        return norm_of_matrix(matrix_of(op, before)[0])
    ones = torch.ones(1, 1, *op.shape, dtype=torch.float64, device=op.weight.device)
    positive = Conv(op.inputs, op.shape, op.where, op.weight.abs(), op.bias, op.stride, op.padding, op.dilation, op.groups, op.before)
    rows = positive.absolute(torch.ones(1, *before, dtype=torch.float64, device=op.weight.device)).amax()
    (columns,) = positive.back(ones)
    sums = math.sqrt(float(rows) * float(columns.amax())) * (1 + sum(op.terms) * GUARD)
    windows = math.sqrt(_windows(op.weight.shape[2:], op.stride, op.dilation)) * (1 + GUARD)
    groups = op.weight.split(op.weight.shape[0] // op.groups)
    return min(sums, max(norm_of_matrix(g.flatten(1)) for g in groups) * windows, max(_on_a_torus(op, g) for g in groups))


def _on_a_torus(op: Conv, weight: Tensor) -> float:
    """The exact norm where the edges of the image meet (Sedghi et al. 2019, arXiv:1805.10408): the operator with zeros around is a part of it.

    Every frequency is mapped by a small matrix of its own. With a stride s, the s x s features that windows step over are taken as channels.
    """
    if op.dilation != (1, 1):
        return INF
    high, wide = op.stride
    out, into, kh, kw = weight.shape
    weight = functional.pad(weight, (0, -kw % wide, 0, -kh % high))
    kh, kw = weight.shape[2] // high, weight.shape[3] // wide
    weight = weight.view(out, into, kh, high, kw, wide).permute(0, 1, 3, 5, 2, 4).reshape(out, into * high * wide, kh, kw)
    sizes = [op.shape[1] + kh - 1, op.shape[2] + kw - 1]
    if math.prod(sizes) * weight.shape[0] * weight.shape[1] > 4 * WRITTEN_OUT:
        return INF
    waves = torch.fft.fft2(weight, s=sizes).permute(2, 3, 0, 1)
    most = float(torch.linalg.svdvals(waves).amax())
    return most * (1 + LAPACK * (sum(weight.shape) + sum(sizes)) * 2.0**-53) if math.isfinite(most) else INF


def _of_scale(op: Scale, before: Shape) -> float:
    return float(op.scale.abs().amax())


def _of_total(op: Total, before: Shape) -> float:
    return abs(op.factor) * math.sqrt(math.prod(before[d] for d in op.dims)) * (1 + GUARD)


def _of_pick(op: Pick, before: Shape) -> float:
    """A feature that stands in k places weighs sqrt(k)."""
    taken = op.source[op.source >= 0].flatten()
    return math.sqrt(int(taken.bincount(minlength=1).max()))


NORMS: dict[type[Op], Callable[..., float]] = {Dense: _of_dense, Conv: _of_conv, Scale: _of_scale, Total: _of_total, Pick: _of_pick}
