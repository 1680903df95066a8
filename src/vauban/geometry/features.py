"""The rows of a table that an attacker may submit: an Lp ball in scaled features, inside bounds, types, directions and relations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from vauban.geometry.body import INF, Body, float64, norms_of_rows
from vauban.geometry.relations import holds, value_of, violation
from vauban.threat.features import Features
from vauban.threat.relations import Condition, Expression

NEARLY = 1e-9
ROUNDS = 3
"""Rounds of steps onto the relations that fail."""
SHARES = (0.8, 0.6, 0.4, 0.2)
"""Shares of a change that are tried where the whole of it cannot be repaired."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Tabular(Body):
    """Rows (n, features) of a table, and the changes that are allowed.

    Projection, steepest step and distance are those of the ball in scaled features. Types and relations are not convex and have their own
    functions: `repair` moves a row onto them as far as it can, `penalty` says how far relations are from holding, and `outside`, which the
    referee asks, is inf where anything at all is not as it must be.

    Attributes:
        inner: the ball of scaled changes.
        scale: (features,), what counts as a change of 1.
        up, down, whole: bool (features,), which may only rise, only fall, and are whole numbers (one-hot columns too).
        allowed: the constraints as they were stated.
        assigned: features that a relation defines, each with what it must equal, in an order in which they can be computed.
        choices: features that a relation confines to a few values, and these.
    """

    inner: Body
    scale: Tensor
    up: Tensor
    down: Tensor
    whole: Tensor
    allowed: Features
    assigned: tuple[tuple[int, Expression], ...] = ()
    choices: tuple[tuple[int, tuple[float, ...]], ...] = ()

    @property
    def p(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.allowed.norm

    def within(self, eps: float) -> Self:
        return replace(self, eps=eps, inner=self.inner.within(eps))

    # ---- the ball -------------------------------------------------------------------------------------------------------------------

    def limits(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds, mask, directions, and in L-infinity the cube. The limits of whole numbers are whole."""
        lower, upper = self._walls(x0)
        if self.p == INF and self.eps < INF:
            reach = self.eps * self.scale.double()
            reach = torch.where(self.whole, (reach + NEARLY).floor(), reach * (1 - 2.0**-40))
            clean = float64(x0)
            lower = torch.maximum(lower, -_below(-(clean - reach), x0.dtype).to(x0))
            upper = torch.minimum(upper, _below(clean + reach, x0.dtype).to(x0))
        return torch.minimum(lower, x0), torch.maximum(upper, x0)

    def _walls(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = super().limits(x0)
        return torch.where(self.up, torch.maximum(lower, x0), lower), torch.where(self.down, torch.minimum(upper, x0), upper)

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        return self.inner.cut(d / self.scale, radius, features) * self.scale

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        slope = gradient * self.scale if self.mask is None else gradient * self.scale * self.mask
        scaled = None if room is None else (room[0] / self.scale, room[1] / self.scale)
        return self.inner.steepest(slope, size, scaled) * self.scale

    def distance(self, x0: Tensor, x: Tensor) -> Tensor:
        return norms_of_rows((float64(x) - float64(x0)) / float64(self.scale), self.p, 1)

    def holds(self, x: Tensor) -> bool:
        """Never plain: every example is looked at closely."""
        return False

    @property
    def tolerance(self) -> float:
        """Nothing is forgiven: there is no small step back into types and relations."""
        return 0.0

    # ---- types and relations --------------------------------------------------------------------------------------------------------

    def outside(self, x: Tensor, x0: Tensor) -> Tensor:
        """0 for rows that keep every constraint, inf for the others, float64 (..., n)."""
        broken = self.broken(x, x0).any(-1)
        for relation in self.allowed.relations:
            broken = broken | ~holds(relation.condition, float64(x), self.grains(x))
        return torch.where(broken, INF, 0.0).double()

    def broken(self, x: Tensor, x0: Tensor) -> Tensor:
        """Which features (..., n, features) break bounds, mask, direction, type, or their one-hot group."""
        lower, upper = self._walls(x0)
        broken = (x < lower) | (x > upper) | ~torch.isfinite(x) | (self.whole & (x != x.round()))
        for places in self.allowed.groups.values():
            columns = list(places)
            bad = x[..., columns].sum(-1) != 1
            broken[..., columns] = broken[..., columns] | bad[..., None]
        return broken

    def grains(self, x: Tensor) -> Tensor:
        """The share of itself by which rounding to the type of x moves each feature, float64: none for whole numbers."""
        return torch.where(self.whole.to(float64(x[:0]).device), 0.0, torch.finfo(x.dtype).eps).double()

    def penalty(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """By how much the relations fail at rows x (..., features): the sum (...,), and its gradient in x."""
        if not self.allowed.relations:
            return x.new_zeros(x.shape[:-1]), torch.zeros_like(x)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            total = torch.stack([violation(r.condition, leaf) for r in self.allowed.relations]).sum(0)
            if not total.requires_grad:
                return total, torch.zeros_like(x)
            gradient = torch.autograd.grad(total.sum(), leaf)[0]
        return total.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)

    def repair(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Rows x (..., n, features) with types and relations as they must be, inside the ball, as far as that can be seen to.

        The largest entry of a one-hot group wins, if its change fits into the ball; the other features share what is left of the radius; whole
        numbers are rounded, towards the clean value where the ball wants it; features of a few values take the nearest; then the features that
        relations define are computed. Relations that fail are first approached by steps along their slopes, and where one still fails, or the
        ball is left, a smaller share of the change is tried.
        """
        if not self.allowed.relations:
            return self._typed(x0, x, limits)
        x = self._eased(torch.clamp(x, *limits), limits)
        whole = self._typed(x0, x, limits)
        bad = self._bad(x0, whole)
        for share in SHARES:
            if not bool(bad.any()):
                break
            less = self._typed(x0, x0 + share * (x - x0), limits)
            whole = torch.where(bad[..., None], less, whole)
            bad = bad & self._bad(x0, whole)
        return whole

    def _eased(self, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Rows after some Newton steps onto each relation that fails, in scaled features: the shortest way, were the relation linear."""
        free = self.scale if self.mask is None else self.scale * self.mask
        for _ in range(ROUNDS):
            moved = False
            for relation in self.allowed.relations:
                if relation.assignments or relation.choices:
                    continue  # met by computing a feature, or by taking the nearest value
                short, slope = self._short(relation.condition, x)
                if not bool((short > 0).any()):
                    continue
                slope = slope * free
                step = (short / slope.square().sum(-1).clamp_min(1e-30))[..., None] * slope * free
                x, moved = torch.clamp(x - step.nan_to_num(0.0, 0.0, 0.0) * (1 + 1e-4), *limits), True
            if not moved:
                break
        return x

    def _short(self, condition: Condition, x: Tensor) -> tuple[Tensor, Tensor]:
        """By how much a condition fails once defined features are computed, and the gradient of that in x."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            short = violation(condition, self.assign(leaf))
            if not short.requires_grad:
                return short, torch.zeros_like(x)
            slope = torch.autograd.grad(short.sum(), leaf)[0]
        return short.detach(), slope.nan_to_num(0.0, 0.0, 0.0)

    def _bad(self, x0: Tensor, x: Tensor) -> Tensor:
        return ((self.outside(x, x0) > 0) | (self.distance(x0, x) > self.eps)).to(x.device)

    def _typed(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """`repair` of the whole change."""
        x = torch.clamp(x, *limits)
        categories = self._categories(x0, x)
        cost = norms_of_rows((categories - x0) / self.scale, self.p, 1)
        keeps = cost <= self.eps * (1 + NEARLY)
        categories, cost = torch.where(keeps[..., None], categories, x0), torch.where(keeps, cost, 0.0)
        rest = torch.where(self._in_group, 0.0, x - x0)
        if self.eps < INF:
            rest = self.cut(rest, self._left(cost), 1)
        moved = torch.where(self._in_group, categories, self._rounded(x0, x0 + rest, categories))
        return self.assign(torch.clamp(moved, *limits))

    @property
    def _in_group(self) -> Tensor:
        return torch.tensor([bool(c.group) for c in self.allowed.columns], device=self.scale.device)

    def _categories(self, x0: Tensor, x: Tensor) -> Tensor:
        """The clean rows with the one-hot groups of x, the largest entry 1 and the others 0."""
        found = x0.expand_as(x).clone()
        for places in self.allowed.groups.values():
            columns = list(places)
            most = x[..., columns].argmax(-1)
            found[..., columns] = torch.nn.functional.one_hot(most, len(columns)).to(x.dtype)
        return found

    def _left(self, cost: Tensor) -> Tensor:
        """What is left of the radius (..., n) when one-hot groups have taken `cost` of it."""
        if self.p in (INF,) or self.eps == INF:
            return torch.full_like(cost, self.eps)
        if self.p == 2:
            return (self.eps**2 - cost.square()).clamp_min(0).sqrt()
        return (self.eps - cost).clamp_min(0)

    def _rounded(self, x0: Tensor, x: Tensor, categories: Tensor) -> Tensor:
        near = self._chosen(torch.where(self.whole, x.round(), x))
        far = self.distance(x0, torch.where(self._in_group, categories, near)) > self.eps
        if self.p == 0 or not bool(far.any()):
            return near
        short = torch.where(self.whole, x0 + ((x - x0) * (1 + 1e-6)).trunc(), x)
        for place, _ in self.choices:
            short[..., place] = torch.where(
                (near[..., place] - x0[:, place]).abs() > (x[..., place] - x0[:, place]).abs(), x0[:, place], near[..., place]
            )
        return torch.where(far.to(x.device)[..., None], short, near)

    def _chosen(self, x: Tensor) -> Tensor:
        """The nearest of the values of each feature that has a few."""
        for place, values in self.choices:
            known = x.new_tensor(values)
            x[..., place] = known[(x[..., place, None] - known).abs().argmin(-1)]
        return x

    def assign(self, x: Tensor) -> Tensor:
        """Rows x (..., features) with the features that relations define computed from the others; differentiable."""
        for place, term in self.assigned:
            new = value_of(term, x.double())
            new = new.round() if bool(self.whole[place]) else new
            new = torch.where(torch.isfinite(new), new, x[..., place].double()).to(x.dtype)
            x = torch.cat([x[..., :place], new[..., None], x[..., place + 1 :]], -1)
        return x

    def pulled(self, x: Tensor, gradient: Tensor) -> Tensor:
        """A gradient taken at `assign(x)`, in terms of x: what moves a defined feature is the features it is defined by."""
        if not self.assigned:
            return gradient
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            back = torch.autograd.grad((self.assign(leaf) * gradient).sum(), leaf)[0]
        return back.nan_to_num(0.0, 0.0, 0.0)

    def nearest(self, x0: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest rows with whole numbers and one-hot groups in boxes (m, n, features), and which boxes (m, n) have any."""
        low, high = torch.where(self.whole, low.ceil(), low), torch.where(self.whole, high.floor(), high)
        possible = (low <= high).all(-1)
        point = x0.expand_as(low).clamp(low, high)
        for places in self.allowed.groups.values():
            columns = list(places)
            barred, wanted = low[..., columns] <= 0, high[..., columns] >= 1
            can = wanted & (barred.sum(-1, keepdim=True) - barred.long() == len(columns) - 1)
            mine = x0[:, columns].argmax(-1).expand(can.shape[:-1])
            own = can.gather(-1, mine[..., None])[..., 0]
            pick = torch.where(own, mine, can.long().argmax(-1))
            point[..., columns] = torch.nn.functional.one_hot(pick, len(columns)).to(point.dtype)
            possible = possible & can.any(-1)
        return point, possible


def _below(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """The greatest number of a type that is not above a float64."""
    near = exact.to(dtype)
    return torch.where(near.double() > exact, torch.nextafter(near, torch.full_like(near, -INF)), near)
