"""Auto-PGD: gradient ascent that chooses its own step sizes and goes back to the best point it has seen."""

import torch
from torch import Tensor

from vauban.attacks.evasion.gradient.apgd_l1 import sparse_run
from vauban.attacks.parts.checkpoints import checkpoints, remember, stalled, start_ascent
from vauban.attacks.parts.draws import ascend_mean
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.starts import random_change
from vauban.attacks.registry import Count, attack
from vauban.doors import Loss, Oracle
from vauban.errors import BadPlan
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access

PAPER = "Croce and Hein 2020, arXiv:2003.01690, algorithm 1; in L1 Croce and Hein 2021, arXiv:2103.01208, algorithm 1"
MOMENTUM = 0.75
"""Weight of the gradient step; the rest is that of the step before."""


@attack(Access.GRADIENT, on=("linf", "l2", "l1"), paper=PAPER)
def apgd(
    o: Oracle, steps: Count = 100, restarts: Count = 1, loss: LossName = "cross-entropy", eot: Count = 1, large_eps: bool = False
) -> None:
    """Auto-PGD: the step of each row is halved where progress stalls, and the row goes on from its best point.

    A run asks steps + 1 questions and as many gradients of each row. `eot` averages so many draws of a randomised model in each of them.
    `large_eps`, in L1 only, spends the first 60 % of the steps in balls of three and two times the radius.
    """
    for _ in o.restarts(restarts):
        run(o, LOSSES[loss], steps, eot=eot, large_eps=large_eps)


def run(o: Oracle, loss: Loss, steps: int, *, eot: int = 1, large_eps: bool = False) -> None:
    """One run of Auto-PGD from a random point."""
    if o.ball.p == 1:
        sparse_run(o, loss, steps, eot=eot, large_eps=large_eps)
    elif large_eps:
        raise BadPlan(f"Auto-PGD: large_eps is for L1, and threat {o.threat.name!r} allows {o.threat.perturbation.kind}; leave it out")
    else:
        climb(o, loss, steps, border_start(o), eot=eot)


def climb(o: Oracle, loss: Loss, steps: int, x: Tensor, *, eot: int = 1) -> None:
    """One run in L-infinity or L2 from the points x (n, *shape) of the ball: x+ = P(x + a (z - x) + (1 - a) (x - x-)), z = P(x + eta g).

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
        value, gradient = ascend_mean(o, s.x, loss, eot)
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


def border_start(o: Oracle) -> Tensor:
    """A random point whose change is as large as the radius: L-infinity, uniform in the cube and stretched until it touches its border; L2, a
    random direction."""
    if o.ball.p != INF:
        return o.project(o.x + random_change(o, o.eps, surface=True))
    u = o.noise.uniform(*o.x.shape[1:]).to(o.x).mul_(2).sub_(1)
    return o.project(o.x + u * per_row(o.eps / norms_of_rows(u, INF, u.ndim - 1).clamp_min(1e-30), u))
