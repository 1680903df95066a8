"""An attacker that knows how the target is made, and tries every way of taking gradients of it."""

from contextlib import nullcontext

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.starts import random_start
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.threat import Access


@attack(Access.GRADIENT, on=("linf", "l2", "l1"), paper="Tramèr et al. 2020, arXiv:2002.08347, sections 4 and 11")
def every_way(o: Oracle, steps: Count = 40, step: Positive = 0.1, loss: LossName = "selective") -> None:
    """Projected gradient ascent along one stand-in of the target after the other; along its own where it names none.

    Of an ensemble these are the mean of the scores, the margin of a majority, the least margin, and every member.
    """
    for way in o.ways or (None,):
        s = o.rows(x=random_start(o))
        with nullcontext() if way is None else o.through(way):
            for _ in o.steps(steps):
                _, gradient = o.ascend(s.x, LOSSES[loss])
                s.x = o.project(s.x + o.steepest(gradient, s.x, step * o.eps))
        o.submit(s.x)
