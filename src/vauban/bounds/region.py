"""The inputs a certificate speaks of: an Lp ball around each clean row, inside the box, and the least of a linear function over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.bounds.interval import GUARD, Interval
from vauban.bounds.relax import dot
from vauban.errors import BadData
from vauban.geometry import Body, per_row

INF = math.inf
NARROWINGS = 4


@dataclass(frozen=True, eq=False)
class Region:
    """For each row: the inputs in [lo, hi] and within Lp distance `eps` of x. Tensors (n, *shape) and (n,), float64.

    With p = inf, [lo, hi] says it all.
    """

    x: Tensor
    lo: Tensor
    hi: Tensor
    p: float
    eps: Tensor

    @classmethod
    def box(cls, x: Tensor, lo: Tensor, hi: Tensor) -> Region:
        """All inputs between lo and hi."""
        return cls(x, lo, hi, INF, x.new_full((len(x),), INF))

    @classmethod
    def of(cls, body: Body, x: Tensor, eps: Tensor) -> Region:
        """The body around rows x (n, *shape), with a radius of each row's own, eps (n,) float64.

        Radius and box are widened by what the judge of attacks forgives (relative 1e-6 of the radius and 1e-7 of the input range), so that
        whatever it accepts as inside is inside.

        Raises:
            BadData: a clean row lies outside the box.
        """
        spare = 1e-7 * body.width
        low, high = (limit.double() for limit in Body.limits(body, x))
        clean, free = x.double(), high > low
        if bool(((clean < low - spare) | (clean > high + spare)).any()):
            raise BadData("certify: a row lies outside the box of the ball; give the bounds that inputs really have")
        low, high = torch.where(free, low - spare, low), torch.where(free, high + spare, high)
        if body.p == 0:
            return cls(clean, low, high, 0.0, eps)
        radius = eps * (1 + 1e-6) + spare
        reach = per_row(radius, clean)
        p = INF if bool((eps == INF).all()) else body.p
        return cls(clean, torch.maximum(low, clean - reach), torch.minimum(high, clean + reach), p, radius)

    @property
    def interval(self) -> Interval:
        """The box around it."""
        return Interval(self.lo, self.hi)

    def take(self, rows: Tensor | slice) -> Region:
        """Some rows."""
        return Region(self.x[rows], self.lo[rows], self.hi[rows], self.p, self.eps[rows])

    def lowest(self, a: Tensor) -> Tensor:
        """A lower bound (s, n) of the linear functions a (s, n or 1, *shape); exact but for rounding, where the L2 ball needs few `NARROWINGS`."""
        size = a.abs()
        least = lowest_in_box(a, self.interval)
        if self.p == INF:
            return least
        room = torch.where(a > 0, self.x - self.lo, self.hi - self.x).flatten(2)
        size = size.flatten(2).expand_as(room)
        fall = self._fall(size, room)
        centre = dot(a, self.x)
        guard = GUARD * size.shape[-1] * (dot(size, self.x.abs()) + fall.abs())
        return torch.maximum(least, centre - fall - guard)

    def _fall(self, size: Tensor, room: Tensor) -> Tensor:
        """The most that sum(size * t) can be for 0 <= t <= room and a norm of t within eps; (s, n)."""
        if self.p == 2:
            return _fall_in_l2(size, room, self.eps[:, None])
        if self.p == 1:
            order = size.detach().argsort(-1, descending=True)
            ordered = room.gather(-1, order)
            spent = torch.minimum(ordered, (self.eps[:, None] - (ordered.cumsum(-1) - ordered)).clamp_min(0))
            return (size.gather(-1, order) * spent).sum(-1)
        gains = (size * room).sort(-1, descending=True).values
        return torch.where(torch.arange(gains.shape[-1], device=gains.device) < self.eps[:, None], gains, 0.0).sum(-1)


def lowest_in_box(a: Tensor, box: Interval) -> Tensor:
    """A lower bound (s, n) of the linear functions a (s, n or 1, *shape) over a box of rows (n, *shape)."""
    size = a.abs()
    count = math.prod(a.shape[2:])
    half = (box.hi - box.lo) / 2 + (GUARD * (count + 8)) * box.largest
    return dot(a, (box.lo + box.hi) / 2) - dot(size, half)


def _fall_in_l2(size: Tensor, room: Tensor, eps: Tensor) -> Tensor:
    """An upper bound, by duality: for any price m > 0, size.t is at most size.s + m/2 (eps^2 - s.s), with s = min(size / m, room).

    The price starts where nothing is held back by the room (the dual norm), and falls by Newton's iteration to where the norm is spent; it
    comes from above, so that every turn is at least as tight as the one before.
    """
    with torch.no_grad():
        price = torch.linalg.vector_norm(size, dim=-1, keepdim=True) / eps
        for _ in range(NARROWINGS):
            held = size > price * room
            left = (eps**2 - torch.where(held, room**2, 0.0).sum(-1, keepdim=True)).clamp_min(0)
            free = torch.where(held, 0.0, size).square().sum(-1, keepdim=True)
            price = torch.where(left > 0, (free / left.clamp_min(1e-300)).sqrt(), price).clamp_min(1e-150)
        t = torch.minimum(size / price, room)
        rest = (price / 2 * (eps**2 - t.square().sum(-1, keepdim=True))).squeeze(-1)
    return (size * t).sum(-1) + rest
