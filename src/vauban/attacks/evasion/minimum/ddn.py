"""Decoupled direction and norm."""

import torch

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.select import cosine
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import Access


@attack(Access.GRADIENT, on=("l2",), minimal=True, paper="Rony et al. 2019, arXiv:1811.09600, algorithm 1")
def ddn(o: Oracle, steps: Count = 100, gamma: Share = 0.05, radius: Positive = 1.0, loss: LossName = "cross-entropy") -> None:
    """Gradient steps on a sphere that shrinks by `gamma` after every success and grows by it after every failure.

    `radius` is the first sphere's, in widths of the box. Step length falls from 1 to 0.01 widths along a cosine.
    """
    features = o.x.ndim - 1
    s = o.rows(x=o.x, radius=o.x.new_full((len(o),), radius * o.ball.width))
    for i in o.steps(steps):
        _, gradient, fooled = o.explore(s.x, LOSSES[loss])
        s.radius = s.radius * torch.where(fooled, 1 - gamma, 1 + gamma)
        d = s.x - o.x + o.steepest(gradient, s.x, cosine(i, steps, 1.0, 0.01) * o.ball.width)
        s.x = o.project(o.x + d * per_row(s.radius / norms_of_rows(d, 2.0, features).clamp_min(1e-12), d))
    o.finish(s.x)
