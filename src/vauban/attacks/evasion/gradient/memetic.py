"""Ascents through leaking ReLUs, and children of the points where they ended: for inputs that resist restarts."""

import torch
from torch import Tensor

from vauban.attacks.parts.hope import lacking
from vauban.attacks.parts.leaking import Leaking
from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import random_start
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Oracle, Rows
from vauban.threat import INF, Access

NEAR = 0.1
"""A parent's lead may be behind the best one's by this share of what the best has gained since the clean input."""


@attack(
    Access.GRADIENT,
    on=("linf", "l2"),
    paper="Guo et al. 2020, arXiv:2012.03528 (ReLUs left out of the gradient); Moscato 1989, Caltech C3P report 826 (memetic algorithms)",
)
def memetic(
    o: Oracle,
    generations: Count = 5,
    probes: Count = 12,
    steps: Count = 50,
    targets: Count = 9,
    parents: Count = 6,
    fresh: Share = 0.15,
    step: Positive = 0.5,
    hope: Positive = 0.2,
) -> None:
    """Children of the best ends of earlier ascents, each ascended in turn through ReLUs that leak backwards at first.

    An ascent for each of the `targets` likeliest wrong classes finds out which are near; `probes` ascents from random points head for
    those; and then, generation by generation, as many from points whose features come from two of the `parents` best ends, and a share
    `fresh` from a random point. The first step of an ascent is `step` radii long, and they fall to a thousandth of that along a cosine. A
    row leaves when its best margin still lacks more than a share `hope` of what it has gained since the clean input.
    """
    z = o.look(o.x)
    k = min(targets, int(o.aim.wins.sum(1).amin()))
    ranked = z.masked_fill(o.aim.loses, -INF).topk(k, dim=1).indices
    pool = o.rows(x=_random(o, k), target=ranked, lead=o.x.new_full((len(o), k), -INF), clean=o.aim.margin(z))
    for generation in o.restarts(generations + 1):
        if generation == 0:
            _climb(o, pool, max(steps // 2, 1), step)
        else:
            young = _children(o, pool, probes, 1.0 if generation == 1 else fresh)
            _climb(o, young, steps, step)
            _join(pool, young)
        _keep(pool, parents)
        o.leave(lacking(pool.lead[:, 0], pool.clean) > hope)


def _random(o: Oracle, count: int) -> Tensor:
    """Random points of the ball, (n, count, *shape)."""
    return torch.stack([random_start(o) for _ in range(count)]).transpose(0, 1)


def _climb(o: Oracle, s: Rows, steps: int, step: float) -> None:
    """Ascend from s.x (n, count, *shape) towards s.target (n, count); s.lead is how far the ends came. Leaks close halfway."""
    leaking = Leaking(o, s.x.shape[1])
    for i in o.steps(steps):
        leaking.strength = max(1 - 2 * i / steps, 0.0)
        s.lead, gradient = leaking.ascend(o, s.x, s.target)
        if i + 1 < steps:
            x, up = s.x.transpose(0, 1), gradient.transpose(0, 1)
            s.x = o.project(x + o.steepest(up, x, cosine(i, steps, step, step / 1000) * o.eps)).transpose(0, 1)


def _children(o: Oracle, pool: Rows, count: int, fresh: float) -> Rows:
    """Points that take each feature from one of two parents, or with chance `fresh` from a random point; the first parent's target is theirs."""
    room = NEAR * (pool.lead[:, :1] - pool.clean[:, None])
    near = (pool.lead >= pool.lead[:, :1] - room).sum(1, keepdim=True).clamp_min(1)
    row = torch.arange(len(o), device=o.x.device)[:, None]
    one, two = (o.noise.integers(1 << 30, count) % near for _ in range(2))
    x = _random(o, count)
    if fresh < 1:
        lot = o.noise.uniform(count, *o.x.shape[1:])
        x = torch.where(lot < fresh, x, torch.where(lot < (1 + fresh) / 2, pool.x[row, one], pool.x[row, two]))
        x = o.project(x.transpose(0, 1)).transpose(0, 1)
    target = pool.target.gather(1, one)
    return o.rows(x=x, target=target, lead=pool.lead.gather(1, one))


def _join(pool: Rows, young: Rows) -> None:
    for name in ("x", "target", "lead"):
        setattr(pool, name, torch.cat([getattr(pool, name), getattr(young, name)], 1))


def _keep(pool: Rows, most: int) -> None:
    """The points with the greatest leads, best first."""
    pool.lead, best = pool.lead.sort(dim=1, descending=True, stable=True)
    best, pool.lead = best[:, :most], pool.lead[:, :most]
    pool.target = pool.target.gather(1, best)
    pool.x = pool.x[torch.arange(len(best), device=best.device)[:, None], best]
