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
FAR = 0.25
"""A row whose margin lacks more than this share of what it gained is left at once."""


@attack(
    Access.GRADIENT,
    on=("linf", "l2"),
    paper="Guo et al. 2020, arXiv:2012.03528 (ReLUs left out of the gradient); Moscato 1989, Caltech C3P report 826 (memetic algorithms)",
)
def memetic(
    o: Oracle,
    generations: Count = 5,
    probes: Count = 12,
    steps: Count = 40,
    targets: Count = 9,
    parents: Count = 6,
    fresh: Share = 0.15,
    step: Positive = 0.5,
    hope: Natural = 0.01,
) -> None:
    """Children of the best ends of earlier ascents, each ascended in turn through ReLUs that at first leak backwards.

    A short ascent for each of the `targets` likeliest wrong classes finds out which are near, and `probes` ascents from random points head
    for those. Then, generation by generation, as many ascents start where each feature comes from one of two of the `parents` best ends, or
    for a share `fresh` of the features from a random point. The first step of an ascent is `step` radii long, and they fall to a thousandth
    of that along a cosine. A row stays while what its margin still lacks is less than a share `hope` of what it has gained since the clean
    input, or while the last generation brought it so much nearer that as much again in every one left would do.
    """
    z = o.look(o.x)
    k = min(targets, int(o.aim.wins.sum(1).amin()))
    ranked = z.masked_fill(o.aim.loses, -INF).topk(k, dim=1).indices
    lead = o.x.new_full((len(o), k), -INF)
    pool = o.rows(x=_random(o, k), target=ranked, lead=lead, clean=o.aim.margin(z), lacks=torch.ones_like(lead[:, 0]))
    for generation in o.restarts(generations + 1):
        if generation == 0:
            _climb(o, pool, max(steps // 2, 1), step)
        else:
            young = _children(o, pool, probes, 1.0 if generation == 1 else fresh)
            _climb(o, young, steps, step)
            _join(pool, young)
        _keep(pool, parents)
        near = lacking(o.conclude(pool.x[:, 0], Aim.margin), pool.clean)
        o.leave((near > FAR) | ((near > hope) & (near > (pool.lacks - near) * (generations - generation))))
        pool.lacks = near


def _random(o: Oracle, count: int) -> Tensor:
    """Random points of the ball, (n, count, *shape)."""
    return torch.stack([random_start(o) for _ in range(count)]).transpose(0, 1)


def _climb(o: Oracle, s: Rows, steps: int, step: float) -> None:
    """Ascend from s.x (n, count, *shape) towards s.target (n, count); s.lead is how far the ends came. The leaks close halfway."""
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
    return o.rows(x=x, target=pool.target.gather(1, one), lead=pool.lead.gather(1, one))


def _join(pool: Rows, young: Rows) -> None:
    for name in ("x", "target", "lead"):
        setattr(pool, name, torch.cat([getattr(pool, name), getattr(young, name)], 1))


def _keep(pool: Rows, most: int) -> None:
    """The points with the greatest leads, best first."""
    ordered, order = pool.lead.sort(dim=1, descending=True, stable=True)
    best, pool.lead = order[:, :most], ordered[:, :most]
    pool.target = pool.target.gather(1, best)
    pool.x = pool.x[torch.arange(len(best), device=best.device)[:, None], best]
