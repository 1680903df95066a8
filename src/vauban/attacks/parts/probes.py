"""The normal of the decision boundary from labels alone: random probes around a point, asked in chunks, of which only sums are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vauban.attacks.parts.subspace import Subspace
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows
from vauban.noise import RowNoise
from vauban.threat import INF

CHUNK = 10
"""Probes that are drawn together. What a row draws must not depend on how many rows there are."""
ROOM = 1 << 22
"""Features that all probes of one turn have together, 16 MiB for each of the few tensors of that size."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """The next probes of m rows: chunks of `CHUNK`, as many for each row.

    Attributes:
        rows: int64 (m,), indices into the rows in view; at least one.
        u: float (m, chunks * CHUNK, features), the directions.
        v: float (m, chunks * CHUNK, features), the points to be asked about.
        wanted: bool (m, chunks * CHUNK), how many of them the row still wants: the first ones.
    """

    rows: Tensor
    u: Tensor
    v: Tensor
    wanted: Tensor


def no_sums(o: Oracle) -> dict[str, Tensor]:
    """State of an estimate to be registered with the rows: its sums, and the number of chunks that the row ever drew."""
    n, d = len(o), o.x[0].numel()
    return {
        "signs_u": o.x.new_zeros(n, d),
        "sum_u": o.x.new_zeros(n, d),
        "signs": o.x.new_zeros(n),
        "heard": o.x.new_zeros(n),
        "wants": torch.zeros(n, dtype=torch.int64, device=o.x.device),
        "drawn": torch.zeros(n, dtype=torch.int64, device=o.x.device),
    }


def begin_estimate(s: Rows, where: Tensor, probes: Tensor) -> None:
    """Rows `where`, bool (n,), want an estimate from so many probes, int64 (n,)."""
    keep = (~where).to(s.sum_u)
    s.signs_u, s.sum_u = s.signs_u * keep[:, None], s.sum_u * keep[:, None]
    s.signs, s.heard = s.signs * keep, s.heard * keep
    s.wants = torch.where(where, probes, s.wants)


def directions(o: Oracle, s: Rows, rows: Tensor, space: Subspace, *, uniform: bool = False) -> Tensor:
    """The next unit directions (m, chunks * CHUNK, features) of the rows int64 (m,): Gaussian, or uniform in a cube, in a subspace."""
    m, features, count = len(rows), o.x[0].numel(), math.prod(space.coefficients)
    most = -(-int(s.wants[rows].max()) // CHUNK)
    chunks = max(min(most, ROOM // (m * CHUNK * features)), 1)
    turn = s.drawn[rows, None] + torch.arange(chunks, device=rows.device)
    s.drawn = s.drawn.index_add(0, rows, torch.full_like(rows, chunks))
    noise = o.noise.fork("probe").take(rows.repeat_interleave(chunks)).at(turn.flatten())
    z = _coefficients(noise, count, uniform=uniform).view(m * chunks, CHUNK, *space.coefficients)
    u = space.lift(z.to(o.x)).reshape(m, chunks * CHUNK, features)
    return u.mul_(norms_of_rows(u, 2.0, 1).clamp_min_(1e-30).reciprocal_()[..., None])


def around(o: Oracle, s: Rows, rows: Tensor, at: Tensor, delta: Tensor, u: Tensor) -> Cloud:
    """Probes at + delta u, put into the box; their directions are what the box leaves of u.

    Args:
        rows: int64 (m,), whose they are.
        at: float (m, *shape), the points they surround.
        delta: float (m,), how far they go.
        u: from `directions`, which is overwritten.
    """
    base, lower, upper = (t.reshape(len(rows), 1, -1) for t in (at, o.limits[0][rows], o.limits[1][rows]))
    far = delta[:, None, None]
    v = torch.addcmul(base, u, far).clamp_(lower, upper)
    return Cloud(rows, torch.sub(v, base, out=u).div_(far.clamp_min(1e-30)), v, still_wanted(s, rows, u.shape[1]))


def still_wanted(s: Rows, rows: Tensor, probes: int) -> Tensor:
    """Which of the next probes the rows (m,) want, bool (m, probes)."""
    return torch.arange(probes, device=rows.device) < s.wants[rows, None]


def _coefficients(noise: RowNoise, count: int, *, uniform: bool) -> Tensor:
    """Standard normal, or uniform in [-1, 1], for `CHUNK` probes of each row, (rows, CHUNK * count): four of one word of noise, since 16 bits of
    each say enough about a direction, and words are most of what probes cost."""
    total = CHUNK * count
    bits = noise.bits(-(-total // 4)).view(torch.int16)[:, :total]
    if uniform:
        return bits.to(torch.float32).add_(0.5).mul_(2.0**-15)
    return _quantiles().to(bits.device).index_select(0, bits.to(torch.int32).add_(1 << 15).flatten()).view(bits.shape)


@cache
def _quantiles() -> Tensor:
    """The standard normal's quantiles of the 2^16 equal parts of its mass, (65536,), in the middle of each: up to 4.3."""
    return torch.special.ndtri((torch.arange(1 << 16, dtype=torch.float64) + 0.5) * 2.0**-16).float()


def enter(s: Rows, cloud: Cloud, won: Tensor, answered: Tensor) -> None:
    """Add the answers about a cloud, bool (m, chunks * CHUNK) each: those that were asked and answered, and no others."""
    m, chunks = len(cloud.rows), cloud.u.shape[1] // CHUNK
    heard = (answered & cloud.wanted).to(cloud.u).view(m, chunks, CHUNK)
    phi = torch.where(won.view(m, chunks, CHUNK), heard, -heard)
    sums = (torch.stack([phi, heard], 2).flatten(0, 1) @ cloud.u.view(m * chunks, CHUNK, -1)).view(m, chunks, 2, -1)
    signs_u, sum_u = s.signs_u[cloud.rows], s.sum_u[cloud.rows]
    for k in range(chunks):  # one after the other, so that the sum does not depend on how many share a turn
        signs_u, sum_u = signs_u + sums[:, k, 0], sum_u + sums[:, k, 1]
    s.signs_u, s.sum_u = s.signs_u.index_copy(0, cloud.rows, signs_u), s.sum_u.index_copy(0, cloud.rows, sum_u)
    s.signs = s.signs.index_add(0, cloud.rows, phi.sum((1, 2)))
    s.heard = s.heard.index_add(0, cloud.rows, heard.sum((1, 2)))
    s.wants = s.wants.index_add(0, cloud.rows, -cloud.wanted.sum(1))


def estimate(o: Oracle, s: Rows) -> Tensor:
    """The estimated normal, towards what fools, (n, *shape): mean(phi u) - mean(phi) mean(u), for phi = 1 where a probe fooled and -1 where not;
    without the second part where all did the same. Of unit L2 norm; zero where nothing was answered."""
    heard = s.heard.clamp_min(1)
    mean = s.signs / heard
    baseline = torch.where(mean.abs() < 1, mean, 0.0)
    v = (s.signs_u - baseline[:, None] * s.sum_u) / heard[:, None]
    scaled = v / norms_of_rows(v, INF, 1).clamp_min(1e-30)[:, None]
    return (scaled / norms_of_rows(scaled, 2.0, 1).clamp_min(1e-12)[:, None]).view_as(o.x)


def put(o: Oracle, single: Tensor, asks: Tensor, cloud: Cloud) -> tuple[Tensor, Tensor]:
    """The questions of a turn: single ones (n, *shape) of the rows `asks`, bool (n,), and the cloud of others.

    Returns:
        Points (k, n, *shape) and which of them are asked, bool (k, n). What is not asked is not filled in.
    """
    k = cloud.v.shape[1]
    v = single.new_empty((k, *single.shape))
    v[0] = single
    v[:, cloud.rows] = cloud.v.view(len(cloud.rows), k, *single.shape[1:]).transpose(0, 1)
    where = torch.zeros((k, len(single)), dtype=torch.bool, device=single.device)
    where[0] = asks
    where[:, cloud.rows] = cloud.wanted.T
    return v, where
