"""ALMA: the smallest change by an augmented Lagrangian, in L2 and L1."""

import torch
from torch import Tensor

from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import Access

FIRST = {2.0: 0.1, 1.0: 0.5}
"""The length of the first step in L2 and L1, in widths of the box."""
EVERY, ENOUGH, GROWTH, BEYOND = 10, 0.95, 1.2, 1e-4
"""Steps between two looks at what is lacking; the share of it that is progress; the growth of rho without progress; and how far beyond the
boundary to aim, as a tie is the defender's."""


@attack(Access.GRADIENT, on=("l2", "l1"), minimal=True, paper="Rony et al. 2021, arXiv:2011.11857, algorithm 1")
def alma(o: Oracle, steps: Count = 1000) -> None:
    """The size of the change plus a penalty on what the scores lack, whose multiplier follows; steps of RMSProp with momentum.

    The averages reach back a hundredth of the steps: the weights 0.9 and 0.5 that go with 1000 and 100 steps in the paper. What the scores
    lack is a ratio, so that neither their scale nor a constant added to them matters: DLR as in the paper; with two classes or a wanted one,
    the share of what they lack at the clean input.
    """
    memory = 1 - 1 / max(steps / 100, 2)
    # the published last rate, 0.01 of the first, leaves long runs in L1 a floor of noise of twice the smallest changes, where 0.003 does not
    last = min(0.01, 3 / steps)
    one = o.x.new_ones(len(o))
    s = o.rows(x=o.x, v=torch.ones_like(o.x), m=torch.zeros_like(o.x), unit=one, rate=one, mu=one, rho=one, last=one, found=one * steps)
    for i in o.steps(steps):
        value, gradient, fooled = o.explore(s.x, lead_ratio)
        if i == 0 and (o.aim.wanted or o.classes == 2):
            s.unit = value.abs().clamp_min(1e-12)
        lack, downhill = BEYOND - value / s.unit, -gradient / per_row(s.unit, gradient)
        s.found = torch.where(fooled & (s.found == steps), i, s.found)
        if i % EVERY == EVERY - 1:
            s.rho = torch.where((s.found == steps) & (lack >= ENOUGH * s.last), s.rho * GROWTH, s.rho)
        if i % EVERY == EVERY - 1 or i == 0:
            s.last = lack
        if i:
            s.mu = torch.lerp(penalty_slope(lack, s.rho, s.mu), s.mu, memory).clamp(1e-6, 1e12)
        down = size_slope(s.x - o.x, o.ball.p) + per_row(penalty_slope(lack, s.rho, s.mu), downhill) * downhill
        if i == 0:
            down = _somewhere(o, down)
            s.rate = first_rate(o, down, FIRST[o.ball.p] * o.ball.width)
        rate = s.rate * last ** ((i - s.found).clamp_min(0) / (steps - s.found).clamp_min(1))
        s.v = torch.lerp(down.square(), s.v, memory)
        s.m = memory * s.m + down / (s.v.sqrt() + 1e-8)
        s.x = o.project(s.x - per_row(rate, s.m) * s.m)
    o.finish(s.x)


def lead_ratio(aim: Aim, z: Tensor) -> Tensor:
    """The lead of the best winning score, positive exactly where the goal is met: over z(1) - z(3) (DLR), or for a wanted class itself.

    Such a ratio is -1, without a gradient, wherever a wanted class is third; and with two classes nothing is left to scale by.
    """
    if aim.wanted or z.shape[1] == 2:
        return aim.margin(z)
    top = z.topk(3, dim=1).values
    return aim.margin(z) / (top[:, 0] - top[:, 2] + 1e-12)


def penalty_slope(y: Tensor, rho: Tensor, mu: Tensor) -> Tensor:
    """The derivative in y of the penalty P2: mu y + mu rho y^2 + rho^2 y^3 / 6 where y >= 0 is lacking, else mu y / (1 - rho y)."""
    return torch.where(y >= 0, mu + 2 * mu * rho * y + (rho * y).square() / 2, mu / (1 - rho * y.clamp_max(0)).square())


def size_slope(d: Tensor, p: float) -> Tensor:
    """The gradient of the norm of each change; 0 where there is none."""
    return d.sign() if p == 1 else d / per_row(norms_of_rows(d, 2.0, d.ndim - 1).clamp_min(1e-12), d)


def first_rate(o: Oracle, down: Tensor, length: float) -> Tensor:
    """For each row the rate at which a step from the clean input is `length` long inside the box, or 2^20 times the open one."""
    features, low, high = down.ndim - 1, down.new_zeros(len(o)), down.new_full((len(o),), 20.0)
    open_rate = length / norms_of_rows(down, o.ball.p, features).clamp_min(1e-12)
    for _ in range(25):
        middle = (low + high) / 2
        step = o.project(o.x - per_row(open_rate * 2**middle, down) * down) - o.x
        short = norms_of_rows(step, o.ball.p, features) < length
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return open_rate * 2**low


def _somewhere(o: Oracle, down: Tensor) -> Tensor:
    """A random direction for rows whose gradient vanishes."""
    return pick(norms_of_rows(down, 2.0, down.ndim - 1) > 1e-6, down, o.steepest(o.noise.normal(*down.shape[1:]).to(down), o.x, 1.0))
