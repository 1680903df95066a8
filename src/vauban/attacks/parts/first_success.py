"""Where decision-based attacks begin: some input that fools, however far away. What a row lacks is that row's own trouble."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from vauban.attacks.parts.memory import unit_mean
from vauban.doors import Oracle, Rows
from vauban.geometry import per_row
from vauban.threat import INF, Access

Candidates = Callable[[Oracle, Rows], tuple[Tensor, Tensor]]
"""From the state of the search, points (k, n, *shape) to be asked about, and for which rows there is one, bool (n,)."""
NEAREST = 3
"""How many samples of the attacker's own are tried."""
RADII = 3
"""How many radii, each twice the one before, a transfer candidate is made for."""
MOMENTUM = 10
"""Steps of each."""
CELLS = 4
"""Coarse noise has so many cells along each side of an image."""


def first_success(o: Oracle, tries: int) -> Tensor:
    """An input that fools for each row, (n, *shape): the nearest example that is known already, at no cost; else the first to be found of a
    transfer candidate from a surrogate of the attacker's own, the nearest of its samples that are of a class that wins, and noise: uniform,
    of the corners of the box (first, in L-infinity), and for images in coarse cells.

    At most `tries` questions on noise, 1, 1, 2, 4, 8 ... at a time. Rows for which nothing is found leave.
    """
    x, found = likely_success(o)
    s = o.rows(x=x, found=found)
    for first, last in _doubling(tries):
        if not _offer(o, s, partial(_noise, first=first, last=last)):
            break
    o.leave(~s.found)
    return s.x


def likely_success(o: Oracle) -> tuple[Tensor, Tensor]:
    """`first_success` without noise: the inputs (n, *shape), and bool (n,), for which rows there is one; the others keep the clean input."""
    s = o.rows(x=o.best, found=torch.isfinite(o.distance).to(o.x.device))
    candidates: list[Candidates] = []
    if o.surrogate is not None and o.surrogate.access == Access.NONE and o.threat.access < Access.GRADIENT:
        candidates += [partial(_transferred, radius=_radius(o) * 2**k) for k in range(RADII)]
    if o.samples is not None:
        s.sample, s.distance = _nearest_samples(o, *o.samples)
        candidates += [partial(_sample, k=k) for k in range(s.sample.shape[1])]
    for candidate in candidates:
        if not _offer(o, s, candidate):
            break
    return s.x, s.found


def _offer(o: Oracle, s: Rows, candidates: Candidates) -> bool:
    """Ask about candidates for the rows that have nothing yet, and keep the nearest that fools; False when no row is left to search for."""
    for _ in o.steps(1):
        if bool(s.found.all()):
            return False
        v, usable = candidates(o, s)
        v = v.clamp(*o.limits)
        won = o.fooled(v, usable & ~s.found, kind="initial")
        distance = torch.linalg.vector_norm((v - o.x).flatten(2), dim=2).masked_fill(~won, INF)
        nearest = v[distance.argmin(0), torch.arange(len(o), device=v.device)]
        s.x = torch.where(per_row(won.any(0), v[0]), nearest, s.x)
        s.found = s.found | won.any(0)
        return True
    return False


def _doubling(tries: int) -> list[tuple[int, int]]:
    """Cut `tries` tries into runs of 1, 1, 2, 4, 8 ...

    >>> _doubling(5)
    [(0, 1), (1, 2), (2, 4), (4, 5)]
    """
    ends = [0, 1]
    while ends[-1] < tries:
        ends.append(min(2 * ends[-1], tries))
    return [run for run in pairwise(ends) if run[0] < tries]


def _noise(o: Oracle, s: Rows, *, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Tries number `first` to `last` - 1."""
    lower, upper = o.limits
    makers = [_uniform, _corners] if o.x.ndim != 4 else [_uniform, _corners, _coarse]
    if o.ball.p == INF:
        makers[:2] = [_corners, _uniform]
    share = torch.stack([makers[k % len(makers)](o, k) for k in range(first, last)])
    return torch.lerp(lower.expand_as(share), upper.expand_as(share), share), ~s.found


def _uniform(o: Oracle, k: int) -> Tensor:
    return o.noise.fork("first", k).uniform(*o.x.shape[1:]).to(o.x)


def _corners(o: Oracle, k: int) -> Tensor:
    return (_uniform(o, k) < 0.5).to(o.x)


def _coarse(o: Oracle, k: int) -> Tensor:
    """Uniform noise, one value for each cell of each channel, in as few as 1 and as many as `CELLS` cells along each side."""
    cells = 1 + k // 3 % CELLS
    noise = o.noise.fork("first", k).uniform(o.x.shape[1], cells, cells).to(o.x)
    return torch.nn.functional.interpolate(noise, size=o.x.shape[2:], mode="nearest")


def _nearest_samples(o: Oracle, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each row the indices (n, k) of the nearest samples whose class would win, in L2, and their distances, inf where there are none."""
    flat, k = x.flatten(1), min(NEAREST, len(x))
    parts: list[tuple[Tensor, Tensor]] = []
    for rows in torch.arange(len(o), device=x.device).split(256):
        away = torch.cdist(o.x[rows].flatten(1), flat).masked_fill(~o.aim.wins[rows][:, y.clamp(max=o.classes - 1)], INF)
        distance, index = away.topk(k, dim=1, largest=False)
        parts.append((index, distance))
    index, distance = (torch.cat(column) for column in zip(*parts, strict=True))
    return index, distance


def _sample(o: Oracle, s: Rows, *, k: int) -> tuple[Tensor, Tensor]:
    if o.samples is None:
        return o.x[None], torch.zeros_like(s.found)
    return o.samples[0][s.sample[:, k]].to(o.x)[None], s.distance[:, k] < INF


def _radius(o: Oracle) -> float:
    """The first radius of a transfer candidate: the threat's, or a tenth of the box along every feature."""
    if o.eps < INF:
        return o.eps
    features = o.x[0].numel()
    return 0.1 * o.ball.width * {INF: 1.0, 2.0: features**0.5, 1.0: features}.get(o.ball.p, 1.0)


def _transferred(o: Oracle, s: Rows, *, radius: float) -> tuple[Tensor, Tensor]:
    """MI-FGSM on the surrogate (Dong et al. 2018, arXiv:1710.06081), which asks the target nothing."""
    x, features = o.x, o.x.ndim - 1
    momentum = torch.zeros_like(x)
    for _ in range(MOMENTUM):
        _, gradient = o.ascend(x, where=~s.found)
        momentum = momentum + unit_mean(gradient)
        d = x + o.steepest(momentum, x, 2 * radius / MOMENTUM) - o.x
        x = (o.x + o.ball.cut(d, radius, features)).clamp(*o.limits)
    return x[None], ~s.found
