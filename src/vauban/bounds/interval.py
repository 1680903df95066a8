"""Interval bound propagation (Gowal et al. 2018, arXiv:1810.12715), and what rounding adds to it.

**Why a certificate is never contradicted by arithmetic.** The deployed model computes in its own precision, in an order that is nobody's
promise. For every operation we therefore bound how far the machine's answer may lie from the exact one *for the inputs it was given*:

* A sum of k terms computed in any order with unit roundoff u (2^-24 in float32) is off by at most k u / (1 - k u) times the sum of the terms'
  absolute values (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1 and 4.2). Those absolute values are at most
  |W| max|x| + |b| over the interval of x. Where a device rounds the factors of a product first (TF32: 2^-11 each), this is added. Numbers too
  small for the precision are flushed to 0: at most `FLUSHED` a term.
* Bends are exact (ReLU, maximum) or right to a few units in the last place (leaky ReLU, sigmoid, tanh, GELU and its kin).

This `slack` widens the interval of the operation's output, so that limits hold for what the deployed model computes there, by induction from
the input to the scores. Linear bounds charge the slack of an operation again wherever they step back over it, times the coefficient.

Our own arithmetic, in float64, rounds as well, and in the same places: each of its sums, forward or transposed, adds the same products whose
absolute values the slack is made of. `GUARD` = 2^-50 for each term, eight times float64's unit, is charged on top, which is what a float64
model gets; for a float32 model it vanishes beside 2^-24.

What is not covered: convolution algorithms that do not form the products of the definition (Winograd, FFT), whose error for usual kernels is
some ten units and thus, for more than ten terms, below the worst case over all orders that is charged here; and faulty hardware.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.bounds.ops import Affine, Bend, Op
from vauban.errors import Unsupported

GUARD = 2.0**-50
FLUSHED = 2.0**-126


@dataclass(frozen=True)
class Rounding:
    """What one rounding of the deployed model is worth, relatively: of a sum (`unit`), and of a factor before it is multiplied."""

    unit: float
    factor: float = 0.0

    @classmethod
    def of(cls, unit: float, device: torch.device) -> Rounding:
        """The rounding of a model whose coarsest values have this unit roundoff, on this device as PyTorch is set up now."""
        tf32 = device.type == "cuda" and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
        return cls(unit, 2.0**-11 if tf32 and unit >= 2.0**-24 else 0.0)

    def of_sum(self, op: Affine, size: Tensor) -> Tensor | None:
        """How far an affine op may be off whose terms have absolute values that add up to `size`; None where it only moves numbers."""
        forward, back = op.terms
        if not forward:
            return None
        k = forward * self.unit
        if k >= 1:
            raise Unsupported(
                f"bounds: {op.where} adds {forward} terms in a precision of {self.unit:.2g}, of which nothing can be promised"
            )
        return size * (k / (1 - k) + 2 * self.factor * (1 + self.factor) + (forward + back) * GUARD) + forward * FLUSHED


@dataclass(frozen=True, eq=False)
class Interval:
    """Limits of a value over a region, (n, *shape) float64, and how much of them is due to the rounding of the operation that made it."""

    lo: Tensor
    hi: Tensor
    slack: Tensor | None = None

    def meet(self, lo: Tensor, hi: Tensor) -> Interval:
        """What lies within both."""
        return Interval(torch.maximum(self.lo, lo), torch.minimum(self.hi, hi), self.slack)

    def take(self, rows: Tensor | slice) -> Interval:
        """Some rows."""
        return Interval(self.lo[rows], self.hi[rows], None if self.slack is None else self.slack[rows])

    @property
    def largest(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.lo.abs(), self.hi.abs())


def step(op: Op, inputs: list[Interval], rounding: Rounding) -> Interval:
    """The interval of an operation's output from those of its inputs."""
    if isinstance(op, Affine):
        return _affine(op, inputs, rounding)
    if not isinstance(op, Bend):
        raise TypeError(f"{type(op).__name__} is neither affine nor a bend")
    lo, hi = inputs[0].lo, inputs[0].hi
    slack = op.error(lo, hi, rounding.unit + GUARD)
    least, most = op.extent(lo, hi)
    return Interval(least - slack, most + slack, slack)


def _affine(op: Affine, inputs: list[Interval], rounding: Rounding) -> Interval:
    """Centre and radius: W c + b, plus or minus |W| r."""
    centre = op(*((i.lo + i.hi) / 2 for i in inputs))
    radius = op.absolute(*((i.hi - i.lo) / 2 for i in inputs))
    slack = None
    if op.terms[0]:
        slack = rounding.of_sum(op, op.absolute(*(i.largest for i in inputs)) + op.heft())
    wide = radius if slack is None else radius + slack
    return Interval(centre - wide, centre + wide, slack)
