"""Fast minimum-norm attacks in L0, L1, L2 and L-infinity."""

import torch
from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.select import cosine
from vauban.attacks.registry import Count, Natural, Positive, Share, attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "l0", "pixels"), minimal=True, paper="Pintor et al. 2021, arXiv:2102.12827, algorithm 1")
def fmn(o: Oracle, steps: Count = 100, step: Positive = 1.0, gamma: Share = 0.05, loss: LossName = "margin", hope: Natural = 0) -> None:
    """Normalised gradient steps inside a ball that shrinks by `gamma` after success; before the first one, to the linear estimate of the boundary.

    `step` is the first step's length in widths of the box; it falls to a hundredth of it, and `gamma` to 0.001, along cosines.
    With `hope`, where only examples within the radius count, a row is left after a tenth of the steps if none nearer than 1 + hope radii is known.
    """
    features, p = o.x.ndim - 1, o.ball.p
    # the linear estimate needs the distance to the boundary at the current point; in L0 it says nothing, and the ball starts whole
    s = o.rows(x=o.x, radius=o.x.new_full((len(o),), INF), found=torch.zeros(len(o), dtype=torch.bool, device=o.x.device))
    for i in o.steps(steps):
        if hope and i == steps // 10 and o.judged and not o.nearer:
            o.leave((o.distance > (1 + hope) * o.eps).to(s.found.device))
        value, gradient, fooled = o.explore(s.x, LOSSES[loss])
        size = norms_of_rows(s.x - o.x, p, features)
        s.found = s.found | fooled
        s.radius = _radius(o, s.radius, size, value, gradient, fooled, s.found, cosine(i, steps, gamma, 0.001))
        unit = gradient / per_row(norms_of_rows(gradient, 2.0, features).clamp_min(1e-12), gradient)
        d = (s.x + unit * (cosine(i, steps, step, step / 100) * o.ball.width)).clamp(*o.limits) - o.x
        s.x = (o.x + o.ball.cut(d, s.radius, features)).clamp(*o.limits)
    o.finish(s.x)


def _radius(
    o: Oracle, radius: Tensor, size: Tensor, value: Tensor, gradient: Tensor, fooled: Tensor, found: Tensor, gamma: float
) -> Tensor:
    """The next ball of each row: equation 3 of the paper before the first success, shrinking or growing by gamma after it."""
    p = o.ball.p
    best = o.distance.to(radius)
    if p == 0:
        begun = radius.masked_fill(radius == INF, max(0.1 * o.x[0].numel(), 1.0))
        inner = torch.minimum(torch.minimum(begun - 1, (begun * (1 - gamma)).floor()), best)
        return torch.where(fooled, inner, torch.maximum(begun + 1, (begun * (1 + gamma)).floor())).clamp_min(1)
    slope = norms_of_rows(gradient, o.ball.dual, o.x.ndim - 1).clamp_min(1e-12)
    inner = torch.minimum(torch.minimum(radius, size), best) * (1 - gamma)
    # a little beyond the estimate: exactly on the boundary the scores tie, and a tie is the defender's
    outer = torch.where(found, radius * (1 + gamma), (size + value.abs() / slope) * (1 + gamma / 10))
    return torch.where(fooled, inner, outer)
