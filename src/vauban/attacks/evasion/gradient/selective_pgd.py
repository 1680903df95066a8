"""Gradient ascent against a target that can reject: one wrong class after another, first ahead of the others and then accepted."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from vauban.attacks.parts.memory import unit_mean
from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import random_start
from vauban.attacks.parts.targets import ranked_targets
from vauban.attacks.parts.two_goals import selective_towards, weighed_towards
from vauban.attacks.registry import Count, Natural, Share, attack
from vauban.doors import Loss, Oracle
from vauban.threat import Access

PAPER = "Bryniarski et al. 2021, arXiv:2106.15023, section 4"


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper=f"{PAPER}.2 (selective), towards every class")
def selective_pgd(o: Oracle, steps: Count = 50, targets: Count = 9, restarts: Count = 1, momentum: Share = 0.75) -> None:
    """Raises the lead of a wrong class until it is the answer, then that of the answer over rejection; for each of the likeliest classes.

    Which class is answered decides how strange the input looks in it, so that one class at a time finds more than whichever leads. Momentum
    carries a row over the border between the two goals. Without rejection it is targeted PGD. One question for the ranking.
    """
    s = o.rows(ranked=ranked_targets(o, targets))
    count = s.ranked.shape[1]
    for i in o.restarts(count * restarts):
        climb(o, s.ranked[:, i % count], selective_towards, steps, momentum)


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper=f"{PAPER}; Carlini and Wagner 2017, arXiv:1705.07263 (one loss)")
def lagrangian_pgd(
    o: Oracle, steps: Count = 50, targets: Count = 3, weights: tuple[Natural, ...] = (0.1, 1.0, 10.0), momentum: Share = 0.75
) -> None:
    """Raises what is missing of both goals at once, the second with each weight in turn, towards each of the likeliest wrong classes.

    Goals that are met drop out of the sum. Without rejection it is targeted PGD, and one weight is as good as another.
    """
    s = o.rows(ranked=ranked_targets(o, targets))
    count = s.ranked.shape[1]
    for i in o.restarts(count * len(weights)):
        weighed = partial(weighed_towards, weight=weights[i % len(weights)])
        climb(o, s.ranked[:, i // len(weights)], weighed, steps, momentum)


def climb(o: Oracle, target: Tensor, towards: Callable[[Tensor], Loss], steps: int, momentum: float) -> None:
    """One ascent with momentum from a random point, by steps that fall from the radius to a thousandth along a cosine.

    Of the objective `towards` one class a row, `target`, int64 (n,).
    """
    start = random_start(o)
    s = o.rows(x=start, memory=torch.zeros_like(start), target=target)
    for i in o.steps(steps):
        _, gradient = o.ascend(s.x, towards(s.target))
        s.memory = momentum * s.memory + unit_mean(gradient)
        s.x = o.project(s.x + o.steepest(s.memory, s.x, cosine(i, steps, 1.0, 1e-3) * o.eps))
    o.submit(s.x)
