"""MALT: Auto-PGD towards the classes whose boundary is nearest where the model is taken for linear."""

import torch
from torch import Tensor

from vauban.attacks.evasion.gradient.apgd import run
from vauban.attacks.parts.targets import dlr_towards, ranked_targets
from vauban.attacks.registry import Count, attack
from vauban.doors import Aim, Loss, Oracle
from vauban.geometry import norms_of_rows
from vauban.threat import INF, Access

GROUP = 10
"""Gradients of one row that are held at once: those of 100 candidates for a thousand colour images would take gigabytes."""


@attack(Access.GRADIENT, on=("linf", "l2", "l1"), paper="Melamed et al. 2024, arXiv:2407.02240, algorithm 1")
def malt(o: Oracle, steps: Count = 100, candidates: Count = 100, targets: Count = 9) -> None:
    """Auto-PGD towards the `targets` nearest of the `candidates` likeliest wrong classes; how near by the lead over its gradient's norm.

    For many classes: with ten or fewer it takes the same targets as `apgd-t`, nearest first. Costs a question for the ranking, a gradient
    for each candidate, and a run of Auto-PGD for each target. Any wrong answer on the way counts. Neither the scale of the scores nor a
    constant added to them matters; with two classes, or a wanted one, there is one target.
    """
    ranked = nearest_targets(o, ranked_targets(o, candidates), targets)
    s = o.rows(ranked=ranked, target=ranked[:, 0])

    def ahead(aim: Aim, z: Tensor) -> Tensor:
        return dlr_towards(s.target)(aim, z)

    for k in o.restarts(ranked.shape[1]):
        s.target = s.ranked[:, k]
        run(o, ahead, steps)


def nearest_targets(o: Oracle, classes: Tensor, most: int) -> Tensor:
    """Of winning classes, int64 (n, k), the `most` whose boundary the linear model at the clean input puts nearest, nearest first.

    Distances are in the norm of the ball, (z_y - z_t) / ||grad||_q with q dual to it; where the gradient is zero there is no boundary.
    """
    distances: list[Tensor] = []
    for some in classes.split(GROUP, dim=1):
        lead, gradients = o.jacobian(o.x, _leads(some), columns=some.shape[1])
        slope = norms_of_rows(gradients, o.ball.dual, o.x.ndim - 1)
        distances.append(torch.where(slope > 0, -lead / slope, INF))
    order = torch.cat(distances, 1).sort(dim=1, stable=True).indices
    return classes.gather(1, order[:, :most])


def _leads(classes: Tensor) -> Loss:
    """The leads of several winning classes a row over the best losing one, (m, k)."""
    return lambda aim, z: z.gather(1, aim.of(classes)) - z.masked_fill(aim.wins, -INF).amax(1, keepdim=True)
