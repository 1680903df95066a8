"""What an attacker takes from surrogates of its own before, or while, it asks the target."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.losses import cross_entropy
from vauban.attacks.parts.memory import unit_mean
from vauban.doors import Aim, Loss, Oracle
from vauban.target import Mean, Own, Surrogate


def members(surrogate: Surrogate | None) -> tuple[Surrogate | None, ...]:
    """The surrogates that a mean of surrogates has; the one there is, elsewhere."""
    if isinstance(surrogate, Mean):
        return surrogate.members
    if isinstance(surrogate, Own) and isinstance(surrogate.model, Mean):
        return tuple(Own(member) for member in surrogate.model.members)
    return (surrogate,)


def transferred(o: Oracle, steps: int = 10, decay: float = 1.0, loss: Loss = cross_entropy) -> Tensor:
    """Where MI-FGSM on the surrogate ends, float (n, *shape) (Dong et al. 2018, arXiv:1710.06081, algorithm 1). The target is asked nothing
    where the surrogate is the attacker's own."""
    s = o.rows(x=o.x, momentum=torch.zeros_like(o.x))
    for _ in o.steps(steps):
        _, gradient = o.ascend(s.x, loss)
        s.momentum = decay * s.momentum + unit_mean(gradient)
        s.x = o.project(s.x + o.steepest(s.momentum, s.x, o.eps / steps))
    return s.x


def weighing(weights: Tensor) -> Loss:
    """The weighted sum of the scores, for weights of each row, float (rows, classes)."""

    def sum_of(aim: Aim, z: Tensor) -> Tensor:
        return (aim.of(weights) * z).sum(1)

    return sum_of


def diverse(o: Oracle, where: Tensor) -> Tensor:
    """Weights uniform in (-1, 1) for each class, float (n, classes): the gradient of scores so weighed is a direction that changes the output
    a random way (ODS, Tashiro et al. 2020, arXiv:2003.06878, equation 1)."""
    return o.noise.uniform(o.classes, where=where).to(o.x).mul_(2).sub_(1)


def slope_of(o: Oracle, x: Tensor, weights: Tensor, who: Tensor, among: tuple[Surrogate | None, ...], where: Tensor) -> Tensor:
    """The gradient at x (n, *shape) of the weighted scores of surrogate number `who`, int64 (n,), of each row; zero where not `where`."""
    loss = weighing(weights)
    if len(among) == 1:
        return o.ascend(x, loss, where)[1]
    total = torch.zeros_like(x)
    for number, member in enumerate(among):
        rows = where & (who == number)
        if member is not None and bool(rows.any()):
            with o.through(member):
                total = total + o.ascend(x, loss, rows)[1]
    return total
