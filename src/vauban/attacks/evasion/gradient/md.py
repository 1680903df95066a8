"""Margin decomposition: one half of the margin alone, then all of it; in logits, or in probabilities."""

from typing import Literal

import torch
from torch import Tensor

from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import Start, start_of
from vauban.attacks.registry import Count, attack, preset
from vauban.doors import Aim, Loss, Oracle
from vauban.threat import INF, Access

Scores = Literal["logits", "probabilities"]


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper="Ma et al. 2020, arXiv:2009.13137, algorithm 1")
def md(o: Oracle, steps: Count = 100, restarts: Count = 1, scores: Scores = "logits", start: Start = "uniform") -> None:
    """PGD whose first half of steps raises one term of the margin alone: the best wrong score in one pass, minus the right one in the next.

    Against gradients of which one term drowns the other. The second half raises the margin. Steps fall from twice the radius to 0 along a
    cosine, once in either half. In logits neither their scale nor a constant added to them matters; probabilities saturate when the scale
    is large.
    """
    half = (steps + 1) // 2
    for _ in o.restarts(restarts):
        for term in (winner, minus_loser):
            s = o.rows(x=start_of(o, start))
            for i in o.steps(steps):
                _, gradient = o.ascend(s.x, _in(scores, term if i < half else Aim.margin))
                s.x = o.project(s.x + o.steepest(gradient, s.x, cosine(i % half, half, 2.0, 0.0) * o.eps))
            o.submit(s.x)


def winner(aim: Aim, z: Tensor) -> Tensor:
    """The best winning score."""
    return z.masked_fill(aim.loses, -INF).amax(1)


def minus_loser(aim: Aim, z: Tensor) -> Tensor:
    """Minus the best losing score."""
    return -z.masked_fill(aim.wins, -INF).amax(1)


def _in(scores: Scores, loss: Loss) -> Loss:
    return loss if scores == "logits" else lambda aim, z: loss(aim, torch.softmax(z, 1))


pma = preset(
    "pma",
    "The probability margin attack: margin decomposition in probabilities.",
    md,
    paper="Xie et al. 2025, arXiv:2411.15210, section 3",
    scores="probabilities",
)
