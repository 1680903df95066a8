"""Gradient ascent against a target that can reject, in which a step for one goal does not undo the other."""

from torch import Tensor

from vauban.attacks.parts.select import cosine, pick
from vauban.attacks.parts.starts import random_start
from vauban.attacks.parts.targets import ranked_targets
from vauban.attacks.parts.two_goals import both
from vauban.attacks.registry import Count, attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import Access


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1", "transformations"),
    paper="Bryniarski et al. 2021, arXiv:2106.15023, section 4.1, towards classes",
)
def orthogonal_pgd(o: Oracle, steps: Count = 100, targets: Count = 3, restarts: Count = 1) -> None:
    """Steps along the gradient of the goal that is not met (the class first), without its part along that of the other goal.

    For each of the likeliest wrong classes in turn. Two gradients a step; without rejection it is targeted PGD with one.
    """
    s = o.rows(ranked=ranked_targets(o, targets))
    count = s.ranked.shape[1]
    for i in o.restarts(count * restarts):
        at = o.rows(x=random_start(o), target=s.ranked[:, i % count])
        for k in o.steps(steps):
            leads, gradients = o.jacobian(at.x, both(at.target), columns=1 if o.aim.reject is None else 2)
            # along the direction itself: its signs alone, the steepest step in L-infinity, are orthogonal to nothing
            d = _direction(leads, gradients)
            length = norms_of_rows(d, o.ball.p, o.x.ndim - 1).clamp_min(1e-30)
            at.x = o.project(at.x + per_row(cosine(k, steps, 1.0, 1e-3) * o.eps / length, d) * d)
        o.submit(at.x)


def _direction(leads: Tensor, gradients: Tensor) -> Tensor:
    """Where to go, (n, *shape), from the leads (n, k) and their gradients (n, k, *shape); k is 1 or 2."""
    if leads.shape[1] == 1:
        return gradients[:, 0]
    ahead, accepted = gradients[:, 0], gradients[:, 1]
    return pick(leads[:, 0] <= 0, _across(ahead, accepted), _across(accepted, ahead))


def _across(a: Tensor, b: Tensor) -> Tensor:
    """Each row of `a` without its part along that of `b`; `a` itself where nothing but rounding would be left."""
    aa, ab, bb = (a * a).flatten(1).sum(1), (a * b).flatten(1).sum(1), (b * b).flatten(1).sum(1)
    rest = a - per_row(ab / bb.clamp_min(1e-30), a) * b
    return pick((rest * rest).flatten(1).sum(1) > 1e-6 * aa, rest, a)
