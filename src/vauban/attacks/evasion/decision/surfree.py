"""SurFree: towards the clean input on circles through the boundary point, in random directions, without a gradient; in L2."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.attacks.parts.first_success import first_success
from vauban.attacks.parts.segment import to_boundary
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.subspace import Subspace
from vauban.attacks.parts.turns import ask
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import Access

TURN, SEARCH = range(2)
KINDS = ("step", "projection")
SEARCHES = 7
"""Halvings of an angle."""
SMALLEST = 1e-2
"""A row whose angles became smaller than this, in radians, leaves: a step would gain it less than 1e-4 of the distance."""
LEAST = 0.05
"""The least weight of a frequency that the image has nothing of."""


@attack(Access.LABEL, on=("l2",), minimal=True, paper="Maho, Furon and Le Merrer 2021, arXiv:2011.12807, algorithms 1 and 2")
def surfree(
    o: Oracle, queries: Count = 5000, angle: Positive = 30, angles: Count = 3, rho: Share = 0.95, kept: Count = 100, starts: Count = 100
) -> None:
    """In the plane of the way back and a random direction, the circle whose points are ever nearer: as far round as it still fools.

    At most `queries` questions on each row after a first success, for which at most `starts` ask about noise. A direction is tried at `angles`
    angles either way, the largest first, of at most `angle` degrees at first; that bound is multiplied by `rho` when all fail, and divided by
    it when one does not. Directions are low frequencies that the image has, of random sign, orthogonal to the last `kept`.
    """
    start = to_boundary(o, first_success(o, starts), 1e-2)
    zero, whole = start.new_zeros(len(o)), torch.zeros(len(o), dtype=torch.int64, device=start.device)
    space = Subspace.of("dct", start, 2)
    coefficients = math.prod(space.coefficients)
    s = o.rows(
        x=start, way=torch.zeros_like(start), most=zero + math.radians(angle), good=zero, bad=zero, phase=whole, k=whole, t=whole, fresh=whole == 0,
        old=start.new_zeros(len(o), min(kept, max(coefficients - 2, 1)), coefficients), weight=_weights(o, space),
    )  # fmt: skip
    for _ in o.steps(queries):
        _draw(o, s, space)
        turning = s.phase == TURN
        at = torch.where(turning, _angle(s, s.k, angles), (s.good + s.bad) / 2)
        point = _on_circle(o, s, at)
        won, _ = ask(o, point, s.phase, KINDS)
        _turn(s, at, won, turning, angles, rho)
        s.good, s.bad = torch.where(~turning & won, at, s.good), torch.where(~turning & ~won, at, s.bad)
        s.k = s.k + (~turning).long()
        done = ~turning & (s.k >= SEARCHES)
        s.x = pick(done, _on_circle(o, s, s.good), s.x)
        s.phase, s.fresh = torch.where(done, TURN, s.phase), s.fresh | done
        o.leave(s.most < SMALLEST)


def _angle(s: Rows, k: Tensor, angles: int) -> Tensor:
    """The angle of try number k of a direction: largest first, either way."""
    return s.most * (1 - (k // 2) / angles) * (1 - 2 * (k % 2))


def _turn(s: Rows, at: Tensor, won: Tensor, here: Tensor, angles: int, rho: float) -> None:
    """A success is widened up to the next larger angle, which failed, or to twice the largest; after the last failure comes a new direction."""
    there, lost = here & won, here & ~won
    larger = torch.where(s.k < 2, (2 * at).clamp(-1.5, 1.5), _angle(s, s.k - 2, angles))
    s.good, s.bad = torch.where(there, at, s.good), torch.where(there, larger, s.bad)
    s.phase = torch.where(there, SEARCH, s.phase)
    s.k = torch.where(there, 0, s.k + lost.long())
    failed = lost & (s.k >= 2 * angles)
    s.most = torch.where(there, s.most / rho, torch.where(failed, s.most * rho, s.most)).clamp_max(1.5)
    s.fresh = failed


def _on_circle(o: Oracle, s: Rows, angle: Tensor) -> Tensor:
    """The point at an angle (n,) on the circle whose diameter leads from the clean input to x."""
    d = s.x - o.x
    size = norms_of_rows(d, 2.0, o.x.ndim - 1)
    back = per_row(angle.cos() ** 2, d) * d + per_row(size * angle.cos() * angle.sin(), d) * s.way
    return (o.x + back).clamp(*o.limits)


def _weights(o: Oracle, space: Subspace) -> Tensor:
    """How strong each frequency of the clean images is, (n, *coefficients); the same for all where there are none."""
    if space.down is None or space.across is None:
        return torch.ones_like(o.x)
    return (space.down.T @ o.x @ space.across).abs().tanh().clamp_min(LEAST)


def _draw(o: Oracle, s: Rows, space: Subspace) -> None:
    """Directions for the rows that need one, of unit length: orthogonal to those before, and then to the way back."""
    rows = s.fresh.nonzero()[:, 0]
    if not len(rows):
        return
    noise = o.noise.fork("direction").take(rows).at(s.t[rows])
    z = (noise.integers(3, *space.coefficients).sub_(1).to(o.x) * s.weight[rows]).flatten(1)
    old = s.old[rows]
    for _ in range(2):  # once is not enough in float32
        z = z - (old.transpose(1, 2) @ (old @ z[..., None]))[..., 0]
    z = z / norms_of_rows(z, 2.0, 1).clamp_min(1e-12)[:, None]
    s.old[rows, s.t[rows] % old.shape[1]] = z
    back = (s.x[rows] - o.x[rows]).flatten(1)
    back = back / norms_of_rows(back, 2.0, 1).clamp_min(1e-30)[:, None]
    v = space.lift(z.view(-1, *space.coefficients)).reshape(back.shape)
    v = v - (v * back).sum(1, keepdim=True) * back
    way = (v / norms_of_rows(v, 2.0, 1).clamp_min(1e-12)[:, None]).view(len(rows), *o.x.shape[1:])
    s.way = s.way.index_copy(0, rows, way)
    s.t = s.t.index_add(0, rows, torch.ones_like(rows))
    s.k, s.fresh = torch.where(s.fresh, 0, s.k), torch.zeros_like(s.fresh)
