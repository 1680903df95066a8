"""SPSA: Adam on a gradient that is estimated from scores at random corners around a point."""

from __future__ import annotations

import torch

from vauban.attacks.parts.adam import adam_step
from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.slopes import grain, two_sided
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.threat import Access


@attack(Access.SCORE, on=("linf", "l2"), paper="Uesato et al. 2018, arXiv:1802.05666, algorithm 1; Spall 1992")
def spsa(
    o: Oracle, queries: Count = 5000, probes: Count = 8, reach: Positive = 0.1, step: Positive = 0.4, loss: LossName = "margin"
) -> None:
    """Adam on a mean of differences along random signs, two questions each.

    `reach` and `step` are shares of the radius: the norm of a probe, and that of a step in which every feature moves as far as Adam's rate says.
    """
    purse, shape = Allowance(o, queries), o.x.shape[1:]
    zero = torch.zeros_like(o.x)
    s = o.rows(x=o.x, m=zero, v=zero, age=o.x.new_zeros(len(o)))
    for _ in purse.turns():
        slope = two_sided(o, purse, s.x, lambda: o.noise.sign(*shape).to(o.x), probes, reach * grain(o), LOSSES[loss])
        s.x = o.project(s.x + adam_step(s, -slope, step * grain(o)))
        o.score(s.x, LOSSES[loss], purse.one())
