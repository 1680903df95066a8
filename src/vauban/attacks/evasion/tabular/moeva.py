"""A genetic search for rows of a table that are valid, near, and misclassified, on several objectives at once."""

import torch
from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.tables import table_of
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle, Rows
from vauban.geometry.features import Tabular
from vauban.threat import INF, Access


@attack(Access.SCORE, on=("features",), paper="Simonetto et al. 2022, arXiv:2112.01156 (MOEVA2)")
def moeva(
    o: Oracle, steps: Count = 100, population: Count = 64, offspring: Count = 50, eta: Positive = 20.0, loss: LossName = "margin"
) -> None:
    """Two-point crossover and polynomial mutation from copies of the clean row, for score, distance and relations at once.

    Every child is repaired (types, one-hot groups, defined features, the radius) and asked about: 1 + steps x offspring questions a row. Whom a
    place of the population keeps is decided by weights of its own, fixed and spread over the objectives, where the source sorts by R-NSGA-III:
    the child or parent whose worst weighted objective is least. No gradient is used, so it works on trees and black boxes.
    """
    body = table_of(o)
    n = len(o)
    value = o.score(o.x, LOSSES[loss])
    zero = torch.zeros(n, population, dtype=o.x.dtype, device=o.x.device)
    s = o.rows(rows=o.x[:, None].repeat(1, population, 1), value=value[:, None] + zero, distance=zero, broken=zero)
    weights = _weights(population).to(o.x)
    for _ in o.steps(steps):
        children = body.repair(o.x, _children(o, body, s.rows, offspring, eta).transpose(0, 1), o.limits)
        value = o.score(children, LOSSES[loss])
        rows = children.transpose(0, 1)
        broken = body.penalty(rows)[0]
        distance = (body.distance(o.x, children) / o.eps).T.to(o.x) if o.eps < INF else torch.zeros_like(broken)
        _survive(s, rows, value.T, distance, broken, weights)


def _children(o: Oracle, body: Tabular, parents: Tensor, count: int, eta: float) -> Tensor:
    """Children (n, count, features): a random stretch of the features of one parent in another, and then one feature in d mutated on average."""
    d = parents.shape[2]
    pair = o.noise.integers(parents.shape[1], 2, count)
    one, other = (parents.gather(1, pair[:, k, :, None].expand(-1, -1, d)) for k in (0, 1))
    cuts = o.noise.integers(d + 1, 2, count).sort(1).values
    place = torch.arange(d, device=parents.device)
    inside = (place >= cuts[:, 0, :, None]) & (place < cuts[:, 1, :, None])
    return _mutated(o, body, torch.where(inside, other, one), eta)


def _mutated(o: Oracle, body: Tabular, x: Tensor, eta: float) -> Tensor:
    """Polynomial mutation (Deb and Agrawal 1999) by shares of what a feature may move, and at least by 1 or so where it is a whole number."""
    lower, upper = (limit[:, None] for limit in o.limits)
    reach = upper - lower if o.eps == INF or body.p == 0 else torch.minimum(upper - lower, 2 * o.eps * body.scale)
    free = (lower < upper).any(1).sum(1).clamp_min(1)
    hit = o.noise.uniform(*x.shape[1:]).to(x) < 1 / free[:, None, None]
    u = o.noise.uniform(*x.shape[1:]).to(x)
    power = 1 / (eta + 1)
    change = torch.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 * (1 - u)) ** power) * reach
    change = torch.where(body.whole, change + (u < 0.5).to(x).mul(-2).add(1), change)
    return torch.where(hit, x + change, x)


def _weights(places: int) -> Tensor:
    """How much each place of the population minds score, distance and relations: (places, 3), positive, spread over the simplex."""
    at = (torch.arange(places) + 0.5) / places
    turn = torch.frac(torch.arange(places) * 0.6180339887)
    first = 1 - 0.9 * at.square()
    return torch.stack([first, (1 - first) * turn, (1 - first) * (1 - turn)], 1).clamp_min(1e-3)


def _survive(s: Rows, rows: Tensor, value: Tensor, distance: Tensor, broken: Tensor, weights: Tensor) -> None:
    """Each place keeps, of the parents and children, the one whose worst weighted objective is least."""
    every = torch.cat([s.rows, rows], 1)
    told = [torch.cat(pair, 1) for pair in ((s.value, value), (s.distance, distance), (s.broken, broken))]
    cost = torch.stack([_from_best(-told[0]), _from_best(told[1]), _from_best(told[2])], 2)
    worst = (cost[:, None] * weights[None, :, None]).amax(3) + 1e-3 * (cost[:, None] * weights[None, :, None]).sum(3)
    keep = worst.argmin(2)
    s.rows = every.gather(1, keep[:, :, None].expand(-1, -1, every.shape[2]))
    s.value, s.distance, s.broken = (t.gather(1, keep) for t in told)


def _from_best(cost: Tensor) -> Tensor:
    """Each row's costs (n, m) on a scale from 0, its best, to 1, its worst; 2 where there is none."""
    known = torch.isfinite(cost)
    least = cost.masked_fill(~known, INF).amin(1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    most = cost.masked_fill(~known, -INF).amax(1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    return torch.where(known, (cost - least) / (most - least).clamp_min(1e-12), 2.0)
