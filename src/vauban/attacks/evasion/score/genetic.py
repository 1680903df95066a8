"""A genetic search: populations of changes that are crossed and mutated."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.slopes import grain
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Oracle
from vauban.geometry import per_row
from vauban.threat import INF, Access


@attack(Access.SCORE, on=("linf", "l2"), paper="Alzantot et al. 2019, arXiv:1805.11090, algorithm 1 (GenAttack)")
def genetic(
    o: Oracle,
    queries: Count = 5000,
    population: Count = 6,
    mutation: Share = 0.05,
    size: Positive = 2.0,
    patience: Count = 20,
    loss: LossName = "margin",
) -> None:
    """The fittest member lives on; the others are children of two parents drawn by fitness, feature by feature, with some mutated.

    Every feature of a child is mutated with chance `mutation`, by up to `size` of the change that has norm eps when made to all features; the
    chance falls by a tenth when the best did not improve for `patience` generations. (The published size of mutations falls as well: then
    features cannot come back from the far wall.) A generation costs `population` - 1 questions. Rows never
    share their populations.
    """
    purse, shape = Allowance(o, queries), o.x.shape[1:]
    many = max(population, 2)
    first = torch.stack([o.project(o.x + grain(o) * o.noise.sign(*shape).to(o.x)) for _ in range(many)])
    fit = o.score(first, LOSSES[loss], purse.some(many))
    zero = o.x.new_zeros(len(o))
    s = o.rows(members=first.transpose(0, 1), fit=fit.T, best=zero - INF, waited=zero, less=zero + 1)
    for _ in purse.turns():
        top = s.fit.amax(1)
        s.waited = torch.where(top > s.best, 0.0, s.waited + 1)
        s.best = torch.fmax(s.best, top)
        tired = s.waited >= patience
        s.less, s.waited = torch.where(tired, 0.9 * s.less, s.less), s.waited.masked_fill(tired, 0.0)
        children = torch.stack([_child(o, s.members, s.fit, mutation * s.less, size * grain(o)) for _ in range(many - 1)])
        value = o.score(children, LOSSES[loss], purse.some(many - 1))
        elite = s.fit.argmax(1)[:, None]
        s.members = torch.cat([_chosen(s.members, elite).transpose(0, 1), children]).transpose(0, 1)
        s.fit = torch.cat([s.fit.gather(1, elite), value.T], 1)


def _child(o: Oracle, members: Tensor, fit: Tensor, mutation: Tensor, reach: float) -> Tensor:
    """A child of two members of each row, (n, *shape): of each feature the chance to come from either follows their fitness."""
    chance = fitness(fit)
    which = torch.searchsorted(chance.cumsum(1), o.noise.uniform(2).to(chance)).clamp_max(fit.shape[1] - 1)
    parents, own = _chosen(members, which), chance.gather(1, which)
    share = own[:, 0] / own.sum(1).clamp_min(1e-30)
    lot = o.noise.uniform(3, *members.shape[2:]).to(members)
    child = torch.where(lot[:, 0] < per_row(share, lot[:, 0]), parents[:, 0], parents[:, 1])
    mutated = lot[:, 1] < per_row(mutation, lot[:, 1])
    return o.project(child + mutated * reach * (2 * lot[:, 2] - 1))


def fitness(fit: Tensor) -> Tensor:
    """How likely members are drawn, (n, population): a softmax of their objectives over its spread, so that the scale of scores is no matter."""
    known = torch.where(torch.isfinite(fit), fit, torch.finfo(fit.dtype).min / 4)
    lag = known - known.amax(1, keepdim=True)
    spread = torch.where(torch.isfinite(fit), -lag, 0.0).mean(1, keepdim=True)
    return (lag / spread.clamp_min(1e-30)).softmax(1)


def _chosen(members: Tensor, which: Tensor) -> Tensor:
    """Members (n, population, *shape) by number (n, k): (n, k, *shape)."""
    rows = torch.arange(len(members), device=members.device)
    return members[rows[:, None], which]
