"""The climb of Auto-PGD: steps that are halved where progress stalls, from the best point seen (Croce and Hein 2020, arXiv:2003.01690,
algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.checkpoints import checkpoints, remember, stalled, start_ascent
from vauban.attacks.parts.select import pick
from vauban.doors import Oracle

MOMENTUM = 0.75
"""Weight of the gradient step; the rest is that of the step before."""

Ask = Callable[[Tensor], tuple[Tensor, Tensor]]
"""What is climbed: points (n, *shape) of the rows in view, to their values (n,) and gradients (n, *shape)."""


def climb(o: Oracle, ask: Ask, steps: int, x: Tensor) -> Tensor:
    """One run from the points x (n, *shape) of the ball: x+ = P(x + a (z - x) + (1 - a) (x - x-)), z = P(x + eta g); its best points, (n, *shape).

    As published: the first step is twice the radius; g is the sign of the gradient, or the gradient over its norm; in L2, P shrinks the
    change to the radius and then clamps it to the box. The first period counts a rise over the start, as the paper has it and the authors'
    code does not.
    """
    n = len(x)
    s = o.rows(
        x=x, before=x, eta=x.new_full((n,), 2 * o.eps), mark=x.new_zeros(n), halved=torch.zeros(n, dtype=torch.bool, device=x.device),
        **start_ascent(x),
    )  # fmt: skip
    looks = checkpoints(steps)
    for k in o.steps(steps + 1):
        value, gradient = ask(s.x)
        remember(s, value, gradient)
        if k == 0:
            s.mark = s.top
        if k in looks:
            s.halved = stalled(s, looks[k])
            s.eta = torch.where(s.halved, s.eta / 2, s.eta)
            s.mark, s.rises = s.top, torch.zeros_like(s.rises)
            s.x, gradient = pick(s.halved, s.best, s.x), pick(s.halved, s.slope, gradient)
        z = o.project(o.steepest(gradient, s.x, s.eta).add_(s.x))
        rest = 1 - MOMENTUM if k else 0.0
        s.x, s.before = o.project(z.mul_(1 - rest).add_(s.x, alpha=2 * rest).sub_(s.before, alpha=rest)), s.x
    return s.best
