"""Projected gradient ascent on what a patch shows, at one place after another."""

import torch
from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.places import Places
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Loss, Oracle
from vauban.geometry.l0 import furthest
from vauban.geometry.patch import heaviest
from vauban.threat import Access


@attack(
    Access.GRADIENT,
    on=("patch",),
    images=True,
    paper="Karmon et al. 2018, arXiv:1801.02608; the place: Rao et al. 2020, arXiv:2005.02313",
)
def patch_pgd(o: Oracle, steps: Count = 40, step: Positive = 0.1, restarts: Count = 5, loss: LossName = "cross-entropy") -> None:
    """Signed gradient steps on a patch that begins as noise: first where the gradient promises most, then at a random place each restart.

    `step` is a share of each feature's range. The first place costs one more question: it is where a patch would raise the objective most if that
    were linear.
    """
    places = Places.of(o)
    for i in o.restarts(restarts):
        inside = places.inside(places.anywhere(o)) if i else _promising(o, places, LOSSES[loss])
        lower, upper = o.limits
        s = o.rows(inside=inside, x=torch.where(inside, lower + (upper - lower) * o.noise.uniform(*o.x.shape[1:]), o.x))
        for _ in o.steps(steps):
            _, gradient = o.ascend(s.x, LOSSES[loss])
            lower, upper = o.limits
            s.x = torch.where(s.inside, (s.x + step * (upper - lower) * gradient.sign()).clamp(lower, upper), o.x)
        o.submit(s.x)


def _promising(o: Oracle, places: Places, loss: Loss) -> Tensor:
    """The window, bool (n, *shape), whose features going each to an end of its range would raise a linear objective most."""
    _, gradient = o.ascend(o.x, loss)
    lower, upper = o.limits
    gain = (gradient * furthest(gradient, (o.x - lower, upper - o.x))).sum(1)
    return heaviest(gain, places.height, places.width).unsqueeze(1).expand_as(o.x)
