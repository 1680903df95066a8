"""Auto-PGD: gradient ascent that chooses its own step sizes and goes back to the best point it has seen."""

from torch import Tensor

from vauban.attacks.evasion.gradient.apgd_l1 import sparse_run
from vauban.attacks.parts.auto_pgd import climb
from vauban.attacks.parts.draws import ascend_mean
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.starts import random_change
from vauban.attacks.registry import Count, attack
from vauban.doors import Loss, Oracle
from vauban.errors import BadPlan
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access

PAPER = "Croce and Hein 2020, arXiv:2003.01690, algorithm 1; in L1 Croce and Hein 2021, arXiv:2103.01208, algorithm 1"


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
        o.hand_in(climb(o, lambda x: ascend_mean(o, x, loss, eot), steps, border_start(o)))


def border_start(o: Oracle) -> Tensor:
    """A random point whose change is as large as the radius: L-infinity, uniform in the cube and stretched until it touches its border; L2, a
    random direction."""
    if o.ball.p != INF:
        return o.project(o.x + random_change(o, o.eps, surface=True))
    u = o.noise.uniform(*o.x.shape[1:]).to(o.x).mul_(2).sub_(1)
    return o.project(o.x + u * per_row(o.eps / norms_of_rows(u, INF, u.ndim - 1).clamp_min(1e-30), u))
