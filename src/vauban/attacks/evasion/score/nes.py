"""NES: steps along a gradient that is estimated from scores around a point."""

from __future__ import annotations

import torch

from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.slopes import grain, two_sided
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Oracle
from vauban.threat import INF, Access

LEAST = 1 / 64
"""How small steps become, as a share of the first."""


@attack(Access.SCORE, on=("linf", "l2"), paper="Ilyas et al. 2018, arXiv:1804.08598, algorithm 1")
def nes(
    o: Oracle,
    queries: Count = 5000,
    probes: Count = 10,
    reach: Positive = 0.1,
    step: Positive = 0.2,
    decay: Share = 0.9,
    patience: Count = 5,
    loss: LossName = "margin",
) -> None:
    """Gradient ascent with momentum on a mean of antithetic Gaussian differences.

    An estimate takes `probes` directions, two questions each, and a step one more. `reach` and `step` are shares of the radius: the typical
    norm of a probe, and that of a step, which is halved when the objective was not raised for `patience` steps.
    """
    purse, shape = Allowance(o, queries), o.x.shape[1:]
    none = o.x.new_full((len(o),), -INF)
    s = o.rows(x=o.x, momentum=torch.zeros_like(o.x), size=torch.full_like(none, step * o.eps), best=none, waited=torch.zeros_like(none))
    for _ in purse.turns():
        slope = two_sided(o, purse, s.x, lambda: o.noise.normal(*shape).to(o.x), probes, reach * grain(o), LOSSES[loss])
        s.momentum = decay * s.momentum + (1 - decay) * slope
        s.x = o.project(s.x + o.steepest(s.momentum, s.x, s.size))
        value = o.score(s.x, LOSSES[loss], purse.one())
        s.waited = torch.where(value > s.best, 0.0, s.waited + 1)
        s.best = torch.fmax(s.best, value)
        tired = s.waited >= patience
        s.size = torch.where(tired, s.size / 2, s.size).clamp_min(LEAST * step * o.eps)
        s.waited = s.waited.masked_fill(tired, 0.0)
