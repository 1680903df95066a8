"""DeepFool, in L2 and L-infinity."""

import torch
from torch import Tensor

from vauban.attacks.registry import Count, Natural, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows
from vauban.threat import INF, Access

NUDGE = {2.0: 1e-4, INF: 2e-5}
"""How far beyond a plane each step goes, in widths of the box: on it the scores tie, and a tie is the defender's."""


@attack(Access.GRADIENT, on=("linf", "l2"), minimal=True, paper="Moosavi-Dezfooli et al. 2016, arXiv:1511.04599, algorithm 2")
def deepfool(o: Oracle, steps: Count = 50, overshoot: Natural = 0.02) -> None:
    """Steps onto the nearest of the boundaries of all winning classes, each taken for a plane, until one is crossed."""
    dual = 1.0 if o.ball.p == INF else 2.0
    winners = o.aim.wins.nonzero()[:, 1].view(len(o), -1)
    s = o.rows(x=o.x, total=torch.zeros_like(o.x), winners=winners)

    def leads(aim: Aim, z: Tensor) -> Tensor:
        """Each winning score minus the best losing one."""
        return z.gather(1, aim.of(s.winners)) - z.masked_fill(aim.wins, -INF).amax(1, keepdim=True)

    for _ in o.steps(steps):
        lead, gradients = o.jacobian(s.x, leads, columns=winners.shape[1])
        slope = norms_of_rows(gradients, dual, o.x.ndim - 1).clamp_min(1e-12)
        k = (lead.abs() / slope).argmin(1)
        row = torch.arange(len(o), device=k.device)
        reach = lead[row, k].abs() / slope[row, k] + NUDGE[o.ball.p] * o.ball.width
        s.total = o.project(o.x + s.total + o.steepest(gradients[row, k], s.x, reach)) - o.x
        done = lead.amax(1) > 0
        s.x = o.project(o.x + (1 + overshoot) * s.total)
        o.leave(done)
    o.submit(s.x)
