"""Bounds of a model in training, differentiable in its parameters: intervals, and lines back from the loss (CROWN-IBP).

The operations are those of `vauban.bounds`, holding the parameters themselves and computing in their precision. Rounding is not charged, so
that these bounds train and prove nothing: what is proven is proven by `vauban.bounds.certify`, in float64.

Batch norms take the statistics of the clean batch, as their own forward pass does; dropout is left out of the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # the base of all batch norms

from vauban.bounds.interval import Interval
from vauban.bounds.linear import lowest
from vauban.bounds.network import drafted
from vauban.bounds.ops import Affine, Bend, Op
from vauban.bounds.region import Region
from vauban.bounds.translate import Draft
from vauban.defences.training.inner import concerned
from vauban.defences.training.trainee import Trainee, modes_kept
from vauban.errors import BadPlan
from vauban.geometry import body_of, per_row
from vauban.threat import Ball, Threat

Statistics = dict[nn.Module, tuple[Tensor, Tensor]]
"""For each batch norm the mean and the variance, both (channels,), that it divided out of the clean batch."""


P = ParamSpec("P")
R = TypeVar("R")


def _in_full(function: Callable[Concatenate[Bounded, P], R]) -> Callable[Concatenate[Bounded, P], R]:
    """Without mixed precision, in which differences of large numbers are lost."""

    @wraps(function)
    def run(self: Bounded, *args: P.args, **named: P.kwargs) -> R:
        with torch.autocast(self.clean.device.type, enabled=False):
            return function(self, *args, **named)

    return run


@dataclass(frozen=True, eq=False)
class Bounded:
    """A model in training as operations that can be bounded.

    Attributes:
        ops: operation i reads the places in `ops[i].inputs` and writes place i + 1; place 0 is the input, the last one the scores.
        clean: scores (n, classes) of the clean batch in training mode.
    """

    ops: Sequence[Op]
    clean: Tensor

    @_in_full
    def limits(self, lo: Tensor, hi: Tensor) -> list[Interval]:
        """Limits of the value at every place for inputs in [lo, hi] (n, *shape), by intervals (Gowal et al. 2018, arXiv:1810.12715).

        Those of the scores are wider than the margins' own: see `margins`.
        """
        known = [Interval(lo, hi)]
        for op in self.ops:
            known.append(_step(op, [known[i] for i in op.inputs]))
        return known

    @_in_full
    def margins(self, known: Sequence[Interval], y: Tensor) -> Tensor:
        """Lower bounds (n, classes) of z_y - z_j, 0 for j = y: what follows the last bend is one linear function with the difference
        (the same, section 3, "elision of the last layer")."""
        return self._differences(known, y, 1.0)

    @_in_full
    def cross_entropy(self, known: Sequence[Interval], y: Tensor) -> Tensor:
        """An upper bound (n,) of the cross-entropy of y over the region: that of the worst margins."""
        return (-self.margins(known, y)).logsumexp(1)

    @_in_full
    def crown_cross_entropy(self, known: Sequence[Interval], y: Tensor) -> Tensor:
        """An upper bound (n,) of the cross-entropy of y over the region, by lines from the loss back to the input.

        The intermediate limits are intervals, as in CROWN-IBP (Zhang et al. 2020, arXiv:1906.06316). Cross-entropy is the logarithm of the sum
        of exp(z_j - z_y), each of which lies below its chord between the limits of the difference; the sum of the chords is one linear
        function of the scores, which is bounded in one pass whatever the number of classes ("loss fusion", Xu et al. 2020,
        arXiv:2002.12920). Never above that of intervals.
        """
        most, least = -self.margins(known, y), self._differences(known, y, -1.0)
        top = most.amax(1, keepdim=True)  # exp would overflow: everything is over exp(top)
        high, low = (most - top).exp(), (least - top).exp()
        slope = (high - low) / (most - least).clamp_min(1e-6)
        slope = torch.where(most - least > 1e-6, slope, high)
        chosen = torch.zeros_like(slope).scatter(1, y[:, None], 1.0)
        a = slope - chosen * slope.sum(1, keepdim=True)
        start = (high - slope * most).sum(1)
        upper = start - lowest(self.ops, known, _box(known[0]), len(self.ops), -a[None])[0]
        total = torch.minimum(upper, high.sum(1)).clamp_min(torch.finfo(upper.dtype).tiny)
        return top[:, 0] + total.log()

    def _differences(self, known: Sequence[Interval], y: Tensor, sign: float) -> Tensor:
        """Lower bounds (n, classes) of sign * (z_y - z_j)."""
        columns = torch.arange(known[-1].lo.shape[1], device=y.device)
        a = (columns == y[:, None]).to(known[-1].lo) - (columns[:, None, None] == columns).to(known[-1].lo)
        return lowest(self.ops, known, _box(known[0]), len(self.ops), sign * a, through=False).T


def _box(start: Interval) -> Region:
    return Region.box((start.lo + start.hi) / 2, start.lo, start.hi)


def _step(op: Op, inputs: Sequence[Interval]) -> Interval:
    if isinstance(op, Bend):
        return Interval(*op.extent(inputs[0].lo, inputs[0].hi))
    if not isinstance(op, Affine):
        raise TypeError(f"{type(op).__name__} is neither affine nor a bend")
    centre = op(*((i.lo + i.hi) / 2 for i in inputs))
    radius = op.absolute(*((i.hi - i.lo) / 2 for i in inputs))
    return Interval(centre - radius, centre + radius)


@dataclass
class Live(Draft):
    """A draft whose operations hold the parameters themselves, and the statistics of the batch."""

    seen: Statistics = field(default_factory=Statistics)

    def parameter(self, t: Tensor) -> Tensor:
        return t

    def statistics(self, norm: Any) -> tuple[Tensor | None, Tensor | None]:
        return self.seen.get(norm) or super().statistics(norm)


def bounded(trainee: Trainee, x: Tensor) -> Bounded:
    """The model as it is in training now, for a clean batch x (n, *shape): one forward pass in training mode, and its operations.

    Raises:
        Unsupported: the model branches on its input, or has an operator that bounds do not know.
    """
    with _watched(trainee.model) as seen:
        clean = trainee.learn(x)
    known = trainee.written
    if known is not None and known[0] is trainee.model:
        return Bounded(known[1], clean)
    draft = Live(seen=seen)
    with modes_kept(trainee.model):
        trainee.model.eval()
        drafted(trainee, x, draft)
    ops = tuple(_in_precision(op, clean) for op in draft.ops)
    if not any(_made(t) for op in ops for t in vars(op).values()):
        trainee.written = (trainee.model, ops)
    return Bounded(ops, clean)


def _made(value: object) -> bool:
    """Whether a number of an operation was computed from parameters, so that it is of this step alone."""
    return isinstance(value, Tensor) and value.grad_fn is not None


def _in_precision(op: Op, like: Tensor) -> Op:
    """An operation with its numbers in the precision, and on the device, of a tensor."""
    held = {f.name: v for f in fields(op) if isinstance(v := getattr(op, f.name), Tensor)}
    return replace(op, **{name: v.to(like) if v.is_floating_point() else v.to(like.device) for name, v in held.items()})


@contextmanager
def _watched(model: nn.Module) -> Generator[Statistics]:
    """What the batch norms of a model divide out of the batch that passes meanwhile."""
    seen: Statistics = {}

    def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0]
        dims = [d for d in range(x.ndim) if d != 1]
        seen[norm] = (x.mean(dims), x.var(dims, correction=0))

    hooks = [m.register_forward_pre_hook(look) for m in model.modules() if isinstance(m, _BatchNorm)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def region_of(threat: Threat, x: Tensor, y: Tensor, centre: Tensor | None = None, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """The least and the greatest inputs (n, *shape) that are to be bounded: the threat's L-infinity ball around x, inside its box.

    Rows that the threat's goal does not concern are left as they are.

    Args:
        centre: the middle of a smaller box, of this `share` of the radius; x itself by default.

    Raises:
        BadPlan: the threat is another than an L-infinity ball.
    """
    ball = threat.perturbation
    if not isinstance(ball, Ball) or ball.norm != math.inf:
        raise BadPlan(
            f"threat {threat.name!r}: bounds are trained against an L-infinity ball; give norm = inf, or for L2 a method for smoothing, such "
            "as consistency"
        )
    low, high = body_of(ball, x).limits(x)
    reach = per_row(share * ball.eps * concerned(threat.goal, y).to(x), x)
    middle = x if centre is None else centre
    return torch.maximum(low, middle - reach), torch.minimum(high, middle + reach)
