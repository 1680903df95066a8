"""Two goals at once, against a target that can reject: a wrong class ahead of the others, and the answer accepted."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.losses import compressed
from vauban.attacks.parts.targets import towards
from vauban.doors import Aim, Loss


def both(target: Tensor) -> Loss:
    """The two leads, (m, 2): of one class a row, int64 (rows,), over every other that is an answer; and of the best answer over rejection.

    Where the target cannot reject (or a rejection is a success) the first alone, (m, 1), over the best losing class.
    """

    def leads(aim: Aim, z: Tensor) -> Tensor:
        if aim.reject is None:
            return towards(target)(aim, z)[:, None]
        return torch.stack(ahead_and_accepted(aim, z, target, aim.reject), 1)

    return leads


def ahead_and_accepted(aim: Aim, z: Tensor, target: Tensor, reject: int) -> tuple[Tensor, Tensor]:
    """The two leads of `both`, (m,) each, of a target with the column `reject`."""
    answers = without(z, reject)
    column = aim.of(target)[:, None]
    ahead = z.gather(1, column)[:, 0] - answers.scatter(1, column, -torch.inf).amax(1)
    return ahead, answers.amax(1) - z[:, reject]


def without(z: Tensor, reject: int | None) -> Tensor:
    """Scores (m, classes) in which rejection is no answer."""
    if reject is None:
        return z
    return z.index_fill(1, torch.tensor([reject], device=z.device), -torch.inf)


def selective_towards(target: Tensor) -> Loss:
    """The loss "selective" towards one class a row: this class ahead first, then accepted."""

    def loss(aim: Aim, z: Tensor) -> Tensor:
        if aim.reject is None:
            return towards(target)(aim, z)
        ahead, accepted = ahead_and_accepted(aim, z, target, aim.reject)
        return torch.where(ahead > 0, compressed(accepted), ahead - 1)

    return loss


def weighed_towards(target: Tensor, weight: float) -> Loss:
    """What is missing of each goal, the second `weight` times: a Lagrangian, 0 where both are met."""

    def loss(aim: Aim, z: Tensor) -> Tensor:
        leads = both(target)(aim, z).clamp_max(0)
        return leads[:, 0] if leads.shape[1] == 1 else leads[:, 0] + weight * leads[:, 1]

    return loss
