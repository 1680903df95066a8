"""Auto-PGD in L1: sparse steps, whose sparsity follows that of the best point."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.checkpoints import phases, remember, start_ascent
from vauban.attacks.parts.draws import ascend_mean
from vauban.attacks.parts.select import pick
from vauban.doors import Loss, Oracle, Rows
from vauban.geometry import norms_of_rows
from vauban.geometry.l1 import L1
from vauban.geometry.l1_box import onto_ball_in_box
from vauban.threat import INF

SHARE = 0.2
"""Share of the features that the first steps move."""


def sparse_run(o: Oracle, loss: Loss, steps: int, *, eot: int = 1, large_eps: bool = False) -> None:
    """One run from a random point, in the ball itself or through balls of three and two times the radius (section 3.2 of the paper).

    Each ball is a run of its own from the best point of the last one, and asks one question more than it has steps. The start is normal noise
    as wide as the box (published for boxes of width 1), projected.
    """
    x = o.x + o.noise.normal(*o.x.shape[1:]).to(o.x) * (o.ball.width if o.ball.width < INF else 1.0)
    if not large_eps:
        x = sparse_climb(o, loss, steps, x, o.eps, eot=eot)
    else:
        for times, part in phases(steps):
            x = sparse_climb(o, loss, part, x, times * o.eps, eot=eot, follow=True)
    o.hand_in(x)


def sparse_climb(o: Oracle, loss: Loss, steps: int, x: Tensor, eps: float, *, eot: int = 1, follow: bool = False) -> Tensor:
    """Algorithm 1 of arXiv:2103.01208 in the L1 ball of radius eps, from the points x (n, *shape) projected into it.

    A step spends `eta` in equal parts on the features with the largest gradients, and is projected onto ball and box at once. Every
    4 % of the steps the sparsity of the best point is looked at; with `follow` the first steps are as sparse as the start asks for.

    Returns:
        The best points of the rows that are left, (m, *shape).
    """
    ball = L1(eps, o.ball.lo, o.ball.hi, o.ball.mask)
    x = onto_ball_in_box(ball, o.x, x, o.limits)
    n, d = len(x), x[0].numel()
    moved = _moved(o.x, x) if follow else x.new_full((n,), d)
    share = moved / (1.5 * d) if follow else x.new_full((n,), SHARE)
    s = o.rows(x=x, eta=x.new_full((n,), eps), moved=moved, share=share, **start_ascent(x))
    period = max(int(0.04 * steps), 1)
    for k in o.steps(steps + 1):
        value, gradient = ascend_mean(o, s.x, loss, eot)
        remember(s, value, gradient)
        if k and k % period == 0:
            gradient = look_back(o.x, s, gradient, eps)
        s.x = onto_ball_in_box(ball, o.x, s.x + sparse_step(gradient, s.share, s.eta), o.limits)
    return s.best


def look_back(clean: Tensor, s: Rows, gradient: Tensor, eps: float) -> Tensor:
    """Where the best point became sparser, start again from it with full steps; else shorten them. Returns the gradients to go on with."""
    moved = _moved(clean, s.best)
    sparser = moved < 0.95 * s.moved
    s.eta = torch.where(sparser, eps, (s.eta / 1.5).clamp_min(eps / 10))
    s.moved, s.share = moved, moved / (1.5 * s.x[0].numel())
    s.x = pick(sparser, s.best, s.x)
    return pick(sparser, s.slope, gradient)


def _moved(clean: Tensor, x: Tensor) -> Tensor:
    """How many features of each row differ from the clean ones, float (n,)."""
    return norms_of_rows(x - clean, 0.0, x.ndim - 1)


def sparse_step(gradient: Tensor, share: Tensor, size: Tensor) -> Tensor:
    """The signs of the largest entries of gradients (n, *shape), a share (n,) of the features and no fewer than one, of L1 norm `size` (n,)."""
    flat = gradient.flatten(1)
    strength, d = flat.abs(), flat.shape[1]
    count = d - ((1 - share) * d).clamp(0, d - 1).long()
    least = strength.topk(int(count.max()), dim=1).values.gather(1, count[:, None] - 1)
    signs = torch.where(strength >= least, flat.sign(), 0.0)
    return (signs * (size / norms_of_rows(signs, 1.0, 1).clamp_min(1e-10))[:, None]).view_as(gradient)
