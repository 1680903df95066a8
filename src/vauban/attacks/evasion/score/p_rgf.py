"""P-RGF: a gradient estimated from random probes that lean towards the gradient of a surrogate, as far as that deserves it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.priors import diverse, weighing
from vauban.attacks.parts.slopes import Draw, dot, features, grain, one_sided, unit
from vauban.attacks.registry import Count, Positive, attack, preset
from vauban.doors import Loss, Oracle
from vauban.geometry import per_row
from vauban.threat import Access

NORM_PROBES = 10
"""Probes for the norm of the gradient."""


@attack(Access.SCORE, on=("linf", "l2"), paper="Cheng et al. 2019, arXiv:1906.06919, algorithm 1 and equation 12", prior=True)
def p_rgf(
    o: Oracle,
    queries: Count = 5000,
    probes: Count = 10,
    reach: Positive = 0.1,
    step: Positive = 0.2,
    every: Count = 10,
    ods: bool = False,
    loss: LossName = "margin",
) -> None:
    """Steps along a random gradient-free estimate whose probes are biased towards a surrogate's gradient.

    A step costs at most `probes` questions for the estimate, one for how well the surrogate does, one for where it led; every `every` steps ten
    more for the norm of the gradient. `reach` (of a probe) and `step` are shares of the radius. With `ods`, probes are drawn among
    output-diversified directions of the surrogate.
    """
    purse, f = Allowance(o, queries), LOSSES[loss]
    d, far = features(o), reach * grain(o) * math.sqrt(features(o))
    s = o.rows(x=o.x, value=o.score(o.x, f, purse.one()), power=o.x.new_zeros(len(o)))
    for turn in purse.turns():
        prior = unit(o.ascend(s.x, f)[1])
        if turn % every == 0:
            s.power = d * one_sided(o, purse, s.x, s.value, lambda: _free(o), NORM_PROBES, far, f)[1]
        slope = dot(one_sided(o, purse, s.x, s.value, lambda: prior, 1, far, f)[0], prior)  # noqa: B023
        prior = prior * per_row(torch.where(slope < 0, -1.0, 1.0), prior)
        trust = best_trust((slope.square() / s.power.clamp_min(1e-30)).clamp_max(1.0), d, probes)
        draw = _leaning(o, s.x, prior, trust, ods=ods)
        estimate, _ = one_sided(o, purse, s.x, s.value, draw, probes, far, f, asked=trust < 1)
        estimate = torch.where(per_row((estimate != 0).flatten(1).any(1), estimate), estimate, prior)
        s.x = o.project(s.x + o.steepest(estimate, s.x, step * o.eps))
        s.value = o.score(s.x, f, purse.one())


ods_rgf = preset(
    "ods-rgf",
    "P-RGF whose probes are output-diversified directions of the surrogate.",
    p_rgf,
    paper="Tashiro et al. 2020, arXiv:2003.06878, section 5; Cheng et al. 2019, arXiv:1906.06919",
    ods=True,
)


def best_trust(squared_cosine: Tensor, d: int, q: int) -> Tensor:
    """The share lambda of the prior in each probe that makes the estimate best, for the squared cosine between prior and gradient, in [0, 1]
    (equation 12).

    With A the squared cosine, d features and q probes: 0 where A <= 1 / (d + 2q - 2), 1 where A >= (2q - 1) / (d + 2q - 2), and in between
    (1 - A) (A (d + 2q - 2) - 1) / (2 A d q - A^2 d (d + 2q - 2) - 1).

    >>> best_trust(torch.tensor([0.0, 1.0]), 100, 10).tolist()
    [0.0, 1.0]
    """
    a, most = squared_cosine.double(), d + 2 * q - 2
    between = (1 - a) * (a * most - 1) / (2 * a * d * q - a * a * d * most - 1)
    inner = torch.where(a >= (2 * q - 1) / most, 1.0, between.clamp(0, 1))
    return torch.where(a <= 1 / most, 0.0, inner).to(squared_cosine.dtype)


def _free(o: Oracle) -> Tensor:
    """A random direction of the features that may change, of norm 1."""
    noise = o.noise.normal(*o.x.shape[1:]).to(o.x)
    return unit(noise if o.ball.mask is None else noise * o.ball.mask)


def _leaning(o: Oracle, x: Tensor, prior: Tensor, trust: Tensor, *, ods: bool) -> Draw:
    """Draws of sqrt(lambda) v + sqrt(1 - lambda) w, where w is a random direction of norm 1 across the prior v."""

    def draw() -> Tensor:
        way = unit(o.ascend(x, _random(o))[1]) if ods else _free(o)
        across = unit(way - per_row(dot(way, prior), prior) * prior)
        return per_row(trust.sqrt(), prior) * prior + per_row((1 - trust).sqrt(), across) * across

    return draw


def _random(o: Oracle) -> Loss:
    return weighing(diverse(o, torch.ones(len(o), dtype=torch.bool, device=o.x.device)))
