"""Ascents through leaking ReLUs, and children of the points where they ended: for inputs that resist restarts."""

import torch
from torch import Tensor

from vauban.attacks.parts.hope import lacking
from vauban.attacks.parts.leaking import Leaking
from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import random_start
from vauban.attacks.registry import Count, Natural, Positive, Share, attack
from vauban.doors import Aim, Oracle, Rows
from vauban.threat import INF, Access

NEAR = 0.1
"""A parent's lead may be behind the best one's by this share of what the best has gained since the clean input."""
BELOW = (0.15, 0.1, 0.05, 0.02, 0.01)
"""A row stays after each turn while its margin lacks less than this share of what it gained since the clean input; the last for all later turns.

Tuned on networks that are never reported: docs/decisions says on which."""


@attack(
    Access.GRADIENT,
    on=("linf", "l2"),
    paper="Guo et al. 2020, arXiv:2012.03528 (ReLUs left out of the gradient); Moscato 1989, Caltech C3P report 826 (memetic algorithms)",
)
def memetic(
    o: Oracle,
    generations: Count = 5,
    probes: Count = 8,
    steps: Count = 40,
    targets: Count = 9,
    parents: Count = 6,
    fresh: Share = 0.15,
    step: Positive = 0.5,
    patience: Positive = 1.0,
    units: Natural = 0,
) -> None:
    """Children of the best ends of earlier ascents, each ascended in turn through ReLUs that at first leak backwards.

    Half an ascent for each of the `targets` likeliest wrong classes, the first two before the others, finds out which are near, and `probes`
    ascents from random points head for those. Then, generation by generation, as many ascents start where each feature comes from one of
    two of the `parents` best ends, or for a share `fresh` of the features from a random point. The first step of an ascent is `step` radii
    long, and they fall to a thousandth of that along a cosine. A row leaves when what its margin still lacks is too large a share of what it has
    gained since the clean input: `patience` times the bound of the turn. With `units`, models of more ReLUs than that, or of none, are left at
    once: small networks are where other attacks miss.
    """
    z, found = _look(o)
    if units and not 0 < found <= units:
        return
    ranked = z.masked_fill(o.aim.loses, -INF).topk(min(targets, int(o.aim.wins.sum(1).amin())), dim=1).indices
    pool = _probes(o, ranked[:, :0])
    row = o.rows(ranked=ranked, clean=o.aim.margin(z))
    for turn in o.restarts(generations + 2):
        if turn < 2:
            young = _probes(o, row.ranked[:, :2] if turn == 0 else row.ranked[:, 2:])
        else:
            young = _children(o, pool, row.clean, probes, 1.0 if turn == 2 else fresh)
        _climb(o, young, steps if turn >= 2 else max(steps // 2, 1), step)
        _join(pool, young, parents)
        near = lacking(o.conclude(pool.x[:, 0], Aim.margin), row.clean)
        o.leave(near > patience * BELOW[min(turn, len(BELOW) - 1)])


def _look(o: Oracle) -> tuple[Tensor, float]:
    """The scores of the clean rows, and how many ReLUs the model computes for one: 0 where it has none, or where Python does not see them."""
    counter = Leaking(o, 1)
    with counter:
        z = o.look(o.x)
    return z, counter.units / max(int(z.any(1).sum()), 1)


def _random(o: Oracle, count: int) -> Tensor:
    """Random points of the ball, (n, count, *shape)."""
    if not count:
        return o.x[:, None][:, :0]
    return torch.stack([random_start(o) for _ in range(count)]).transpose(0, 1)


def _probes(o: Oracle, target: Tensor) -> Rows:
    """Points to ascend from, x (n, count, *shape), each with the class it heads for (n, count), and its lead there, (n, count)."""
    return o.rows(x=_random(o, target.shape[1]), target=target, lead=torch.full_like(target, -INF, dtype=o.x.dtype))


def _climb(o: Oracle, s: Rows, steps: int, step: float) -> None:
    """Ascend from s.x (n, count, *shape) towards s.target (n, count); s.lead is how far the ends came. The leaks close halfway."""
    leaking = Leaking(o, s.x.shape[1])
    for i in o.steps(steps):
        leaking.strength = max(1 - 2 * i / steps, 0.0)
        s.lead, gradient = leaking.ascend(o, s.x, s.target)
        if i + 1 < steps:
            x, up = s.x.transpose(0, 1), gradient.transpose(0, 1)
            s.x = o.project(x + o.steepest(up, x, cosine(i, steps, step, step / 1000) * o.eps)).transpose(0, 1)


def _children(o: Oracle, pool: Rows, clean: Tensor, count: int, fresh: float) -> Rows:
    """Points that take each feature from one of two parents, or with chance `fresh` from a random point; they head where the first one did."""
    room = NEAR * (pool.lead[:, :1] - clean[:, None])
    near = (pool.lead >= pool.lead[:, :1] - room).sum(1, keepdim=True).clamp_min(1)
    one, two = (o.noise.integers(1 << 30, count) % near for _ in range(2))
    young = _probes(o, pool.target.gather(1, one))
    if fresh < 1:
        row = torch.arange(len(o), device=o.x.device)[:, None]
        lot = o.noise.uniform(count, *o.x.shape[1:])
        mixed = torch.where(lot < (1 + fresh) / 2, pool.x[row, one], pool.x[row, two])
        young.x = o.project(torch.where(lot < fresh, young.x, mixed).transpose(0, 1)).transpose(0, 1)
    return young


def _join(pool: Rows, young: Rows, most: int) -> None:
    """The points of both with the greatest leads, best first."""
    lead = torch.cat([pool.lead, young.lead], 1)
    best = lead.sort(dim=1, descending=True, stable=True).indices[:, :most]
    pool.lead = lead.gather(1, best)
    pool.target = torch.cat([pool.target, young.target], 1).gather(1, best)
    pool.x = torch.cat([pool.x, young.x], 1)[torch.arange(len(best), device=best.device)[:, None], best]
