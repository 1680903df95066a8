"""Relations between features in tensors: whether they hold, and by how much they do not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.threat.relations import Column, Comparison, Condition, Every, Expression, Number

TINY = 1e-12


def value_of(term: Expression, x: Tensor) -> Tensor:
    """The value of a term for inputs (..., features): (...,), differentiable. Division by 0 is 0; logarithms are of 1e-12 and more."""
    if isinstance(term, Number):
        return x.new_full(x.shape[:-1], term.value)
    if isinstance(term, Column):
        return x[..., term.index]
    first, *rest = [value_of(a, x) for a in term.args]
    if term.op in ONE:
        return ONE[term.op](first)
    for other in rest:
        first = TWO[term.op](first, other)
    return first


def _safely(op: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def safe(a: Tensor, b: Tensor) -> Tensor:
        zero = b == 0
        return torch.where(zero, 0.0, op(a, torch.where(zero, 1.0, b)))

    return safe


ONE: dict[str, Callable[[Tensor], Tensor]] = {"abs": torch.abs, "log": lambda a: a.clamp_min(TINY).log()}
TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": _safely(torch.div),
    "%": _safely(torch.remainder),
    "**": torch.pow,
    "min": torch.minimum,
    "max": torch.maximum,
}


def violation(condition: Condition, x: Tensor) -> Tensor:
    """How far inputs (..., features) are from meeting a condition, (...,): 0 where they do, differentiable, inf where it has no value.

    A comparison counts the difference of its sides over 1 + |left| + |right|, so that relations of dollars and of years weigh alike. Of several
    conditions that must all hold the sum, of alternatives the least.
    """
    if not isinstance(condition, Comparison):
        parts = torch.stack([violation(part, x) for part in condition.parts])
        return parts.sum(0) if isinstance(condition, Every) else parts.amin(0)
    left, right = value_of(condition.left, x), value_of(condition.right, x)
    size = (1 + left.abs() + right.abs()).detach()
    gap = left - right
    if condition.op == "!=":
        return (gap == 0).to(x.dtype)
    over = gap.abs() if condition.op == "==" else gap.clamp_min(0)
    short = over / size if condition.op != "<" else over / size + torch.where(gap >= 0, 1e-6, 0.0).to(x.dtype)
    return torch.where(torch.isfinite(short), short, torch.inf)


def holds(condition: Condition, x: Tensor, grain: Tensor) -> Tensor:
    """Whether inputs (..., features), float64, meet a condition: bool (...,). What has no value does not hold.

    `grain` (features,) is the share of itself by which rounding moves each feature: equalities and <= are met up to what that can do to the
    difference of their sides, to first order. Strict comparisons are exact.
    """
    if not isinstance(condition, Comparison):
        parts = torch.stack([holds(part, x, grain) for part in condition.parts])
        return parts.all(0) if isinstance(condition, Every) else parts.any(0)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        left, right = value_of(condition.left, leaf), value_of(condition.right, leaf)
        gap = left - right
        slope = torch.autograd.grad(gap.sum(), leaf, allow_unused=True)[0] if gap.requires_grad else None
    gap, size = gap.detach(), (left.abs() + right.abs()).detach()
    spare = TINY * size
    if slope is not None:
        spare = spare + (slope.nan_to_num(0.0, 0.0, 0.0) * x).abs().mul(grain).sum(-1)
    finite = torch.isfinite(gap)
    if condition.op in ("<", "!="):
        return finite & (gap < 0 if condition.op == "<" else gap != 0)
    return finite & ((gap if condition.op == "<=" else gap.abs()) <= spare)
