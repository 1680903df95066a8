"""Sign-OPT: descends the distance to the boundary as a function of the direction, from signs of its derivatives; in L2 and L-infinity."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.first_success import first_success
from vauban.attacks.parts.probes import Cloud, begin_estimate, directions, enter, estimate, no_sums, put, still_wanted
from vauban.attacks.parts.segment import halved, rounds, size_of
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.subspace import Subspace
from vauban.attacks.parts.turns import FOREVER, ask
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access

SEARCH, ESTIMATE, TRY = range(3)
KINDS = ("projection", "gradient", "step")
TRIES = 15
"""Lengths of a step that are tried."""
FINEST = 1e-4
"""Below this `beta` is not lowered: float32 inputs do not show it."""
PATIENCE = 10
"""A row that came no nearer than `tolerance` in so many estimates leaves."""


@attack(Access.LABEL, on=("l2", "linf"), minimal=True, paper="Cheng et al. 2020, arXiv:1909.10773, algorithm 1")
def sign_opt(
    o: Oracle,
    steps: Count = 100,
    probes: Count = 200,
    alpha: Positive = 0.2,
    beta: Positive = 1e-3,
    tolerance: Positive = 1e-3,
    starts: Count = 100,
) -> None:
    """Each probe asks, with one question, whether a direction `beta` away reaches the boundary earlier; the step along the mean of the signs is
    doubled while it pays and quartered while it does not.

    `alpha` is the first length of a step for directions of unit size; a distance is searched to `tolerance`, as a share of it. At most `starts`
    questions on noise look for a first success.
    """
    start = first_success(o, starts)
    size, whole = size_of(o, start - o.x), torch.zeros(len(o), dtype=torch.int64, device=start.device)
    way, zero = start - o.x, torch.zeros_like(size)
    unit = way / per_row(size.clamp_min(1e-30), way)
    none = torch.zeros_like(way)
    s = o.rows(
        way=unit, g=size, before=size, trial=unit, low=zero, high=size, phase=whole, normal=none, origin=none, alpha=zero + alpha, beta=zero + beta,
        t=whole, lost=whole, idle=whole, gained=whole > 0, down=whole > 0, **no_sums(o),
    )  # fmt: skip
    space = Subspace(tuple(start.shape[1:]))
    for _ in o.steps(FOREVER):
        radius = torch.where(s.phase == SEARCH, (s.low + s.high) / 2, s.g)
        won = _ask(o, s, (o.x + s.trial * per_row(radius, o.x)).clamp(*o.limits), space)
        here, tried = s.phase == SEARCH, s.phase == TRY
        s.low, s.high = halved(s.low, s.high, won, here)
        _searched(o, s, here & (s.high - s.low <= tolerance * s.high), probes, tolerance)
        _tried(o, s, won, tried, probes, tolerance, alpha)
        _estimated(o, s, (s.phase == ESTIMATE) & (s.wants <= 0))
        o.leave(s.t > steps)


def _ask(o: Oracle, s: Rows, single: Tensor, space: Subspace) -> Tensor:
    """One turn of all rows; the answers to the single questions, bool (n,)."""
    estimating = s.phase == ESTIMATE
    rows = estimating.nonzero()[:, 0]
    if not len(rows):
        return ask(o, single, s.phase, KINDS)[0]
    u = directions(o, s, rows, space)
    way = s.way[rows].flatten(1)[:, None]
    far = s.beta[rows, None, None] * norms_of_rows(way, 2.0, 1)[..., None]
    tilted = _unit(o, way + far * u, 1)
    u = (tilted - way) / far if o.ball.p == INF else u
    clean, lower, upper = (t[rows].flatten(1)[:, None] for t in (o.x, *o.limits))
    cloud = Cloud(rows, u, torch.clamp(clean + tilted * s.g[rows, None, None], lower, upper), still_wanted(s, rows, u.shape[1]))
    v, where = put(o, single, ~estimating, cloud)
    won, answered = ask(o, v, s.phase, KINDS, where)
    enter(s, cloud, won[:, rows].T, answered[:, rows].T)
    return won[0] & ~estimating


def _estimated(o: Oracle, s: Rows, done: Tensor) -> None:
    """Rows that have all their probes try a first step."""
    if not bool(done.any()):
        return
    normal = estimate(o, s)
    normal = normal.sign() if o.ball.p == INF else normal
    s.normal, s.origin = pick(done, normal, s.normal), pick(done, s.way, s.origin)
    s.phase, s.lost = torch.where(done, TRY, s.phase), torch.where(done, 0, s.lost)
    s.gained, s.down = s.gained & ~done, s.down & ~done
    s.trial = pick(done, _step(o, s), s.trial)


def _step(o: Oracle, s: Rows) -> Tensor:
    """The direction a step of length alpha away from where the line search began, of unit size."""
    return _unit(o, s.origin + s.normal * per_row(s.alpha, s.normal), o.x.ndim - 1)


def _unit(o: Oracle, way: Tensor, features: int) -> Tensor:
    """Directions of size 1: scaled in L2. In L-infinity cut off at 1: scaled, a sign vector would lose most of its size to one tilted feature."""
    if o.ball.p == INF:
        return way.clamp(-1, 1)
    return way / per_row(norms_of_rows(way, 2.0, features).clamp_min(1e-30), way)


def _tried(o: Oracle, s: Rows, won: Tensor, here: Tensor, probes: int, tolerance: float, alpha: float) -> None:
    """A direction that fools at the least distance so far is searched; another ends the doubling, or is tried at a quarter of its length."""
    there, lost = here & won, here & ~won
    s.low, s.high = torch.where(there, 0.75 * s.g, s.low), torch.where(there, s.g, s.high)
    s.phase = torch.where(there, SEARCH, s.phase)
    s.lost = s.lost + lost.long()
    s.alpha = torch.where(lost, torch.where(s.gained, s.alpha / 2, s.alpha / 4), s.alpha)
    s.down = s.down | (lost & ~s.gained)
    s.trial = pick(lost & ~s.gained, _step(o, s), s.trial)
    over = lost & (s.gained | (s.lost >= TRIES))
    stuck = over & ~s.gained
    s.alpha, s.beta = torch.where(stuck, alpha, s.alpha), torch.where(stuck, (s.beta / 10).clamp_min(FINEST), s.beta)
    _next(o, s, over, probes, tolerance)


def _searched(o: Oracle, s: Rows, done: Tensor, probes: int, tolerance: float) -> None:
    """The direction of a search that is over is kept; doubling goes on."""
    if not bool(done.any()):
        return
    s.way, s.g = pick(done, s.trial, s.way), torch.where(done, s.high, s.g)
    doubling = done & (s.t > 0) & ~s.down & (s.lost < TRIES)
    s.gained, s.lost = s.gained | doubling, s.lost + doubling.long()
    s.alpha = torch.where(doubling, 2 * s.alpha, s.alpha)
    s.trial = pick(doubling, _step(o, s), s.trial)
    s.phase = torch.where(doubling, TRY, s.phase)
    _next(o, s, done & ~doubling, probes, tolerance)


def _next(o: Oracle, s: Rows, where: Tensor, probes: int, tolerance: float) -> None:
    """To the next estimate, of as many probes as leave a row the questions to use it; not where `PATIENCE` of them gained nothing to speak of."""
    slow = where & (s.t > 0) & (s.before - s.g <= tolerance * s.g)
    s.idle = torch.where(where, torch.where(slow, s.idle + 1, 0), s.idle)
    o.leave(s.idle >= PATIENCE)
    s.before, s.t = torch.where(where, s.g, s.before), s.t + where.long()
    count = torch.minimum(torch.full_like(s.t, probes), o.left - rounds(tolerance) - 2)
    s.phase = torch.where(where, ESTIMATE, s.phase)
    begin_estimate(s, where, count)
    o.leave(where & (count < 1))
