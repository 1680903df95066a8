"""Bandits: a gradient prior, in tiles, that is learned from pairs of questions as the steps go by."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.slopes import grain, unit
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access


@attack(Access.SCORE, on=("linf", "l2"), paper="Ilyas et al. 2019, arXiv:1807.07978, algorithms 2 and 3 (Bandits-TD)")
def bandits(
    o: Oracle,
    queries: Count = 5000,
    tile: Count = 4,
    reach: Positive = 0.3,
    explore: Positive = 1.0,
    rate: Positive = 0.1,
    step: Positive = 0.1,
    loss: LossName = "margin",
) -> None:
    """Steps along a prior that two questions on either side of it correct every time.

    The prior has tiles of `tile` pixels a side, and one for each feature of a vector. In L-infinity it is kept inside the cube by exponentiated
    gradients, in L2 inside the unit ball. `reach` (of the questions) and `step` are shares of the radius, `explore` is the norm of what is
    added to the prior, and `rate` how far one answer moves it. Differences are divided by their root mean square so far, so that none of
    these depend on the scale of the scores. Both questions are legal candidates, so none is spent on checking a step.
    """
    purse, latent = Allowance(o, queries), _latent(o, tile)
    norm = reach * grain(o) * math.sqrt(math.prod(o.x.shape[1:]))
    s = o.rows(x=o.x, prior=o.x.new_zeros(len(o), *latent), power=o.x.new_zeros(len(o)), count=o.x.new_zeros(len(o)))
    for _ in purse.turns(least=2):
        noise = o.noise.normal(*latent).to(o.x)
        aside = explore * noise / math.sqrt(math.prod(latent))
        shown = _bounded(o, s.prior)
        ends = o.project(torch.stack([s.x + norm * unit(_widened(shown + way, o.x)) for way in (aside, -aside)]))
        value = o.score(ends, LOSSES[loss], purse.some(1, each=2).expand(2, -1), kind="gradient")
        rise = value[0] - value[1]
        rise = torch.where(o.answered.all(0) & torch.isfinite(rise), rise, 0.0)
        s.power, s.count = s.power + rise.square(), s.count + 1
        scaled = rise / (s.power / s.count).sqrt().clamp_min(1e-30)
        s.prior = s.prior + rate * per_row(scaled, noise) * (noise if o.ball.p == INF else aside)
        s.x = o.project(s.x + o.steepest(_widened(s.prior, o.x), s.x, step * o.eps))


def _latent(o: Oracle, tile: int) -> tuple[int, ...]:
    """The shape of the prior."""
    shape = tuple(o.x.shape[1:])
    return (shape[0], *(math.ceil(side / tile) for side in shape[1:])) if len(shape) == 3 else shape


def _bounded(o: Oracle, prior: Tensor) -> Tensor:
    """A prior inside the cube (the sum of exponents, through tanh), in L2 inside the unit ball."""
    return prior.tanh() if o.ball.p == INF else prior / per_row(norms_of_rows(prior, 2.0, prior.ndim - 1).clamp_min(1.0), prior)


def _widened(prior: Tensor, like: Tensor) -> Tensor:
    """A prior in the shape of the inputs."""
    return prior if prior.shape == like.shape else functional.interpolate(prior, size=like.shape[2:], mode="nearest")
