"""Objectives, always to be raised: functions of an aim and scores (n, classes), to values (n,)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vauban.doors import Aim, Loss

LossName = Literal["cross-entropy", "margin", "dlr", "probability-margin", "selective"]


def cross_entropy(aim: Aim, z: Tensor) -> Tensor:
    """Cross-entropy of the true class, or minus that of the wanted one."""
    return aim.cross_entropy(z)


def margin(aim: Aim, z: Tensor) -> Tensor:
    """Best winning score minus best losing one (Carlini and Wagner 2017, f6, with the sign turned)."""
    return aim.margin(z)


def dlr(aim: Aim, z: Tensor) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020, arXiv:2003.01690, equations 6 and 7): invariant to shift and scale.

    With two classes nothing is left to scale by, and it is the margin; with three, the targeted form scales by z(1) - (z(2) + z(3)) / 2, since
    z(1) - z(3) would leave a target that ranks third no gradient.
    """
    classes, plain = z.shape[1], z.detach()
    if classes == 2:
        return aim.margin(z)
    if aim.wanted:
        return over_spread(z, aim.anchor, aim.y)
    order = plain.topk(3, dim=1).indices
    lead, behind, first, third = columns(z, aim.best_winner(plain), aim.best_loser(plain), order[:, 0], order[:, 2])
    return (lead - behind) / (first - third + 1e-12)


def over_spread(z: Tensor, ahead: Tensor, behind: Tensor) -> Tensor:
    """What the score of one class a row, int64 (n,), has over that of another, over how far apart the highest scores are; of three classes or
    more (equation 7)."""
    few = z.shape[1] == 3
    order = z.detach().topk(3 if few else 4, dim=1).indices
    lead, lag, first, *low = columns(z, ahead, behind, order[:, 0], order[:, -2], order[:, -1])
    return (lead - lag) / (first - (low[0] + low[1]) / 2 + 1e-12)


def columns(z: Tensor, *which: Tensor) -> tuple[Tensor, ...]:
    """Scores of some classes of each row, (n,) for each int64 (n,). All in one look-up, since its gradient costs one step back, and a sort and
    slices cost seven."""
    return z.gather(1, torch.stack(which, 1)).unbind(1)


def probability_margin(aim: Aim, z: Tensor) -> Tensor:
    """The margin of probabilities (PMA, arXiv:2411.15210)."""
    return aim.margin(z.softmax(1))


def selective(aim: Aim, z: Tensor) -> Tensor:
    """First a winning class ahead of all others, then ahead of rejection (selective gradients: Bryniarski et al. 2021, arXiv:2106.15023).

    The margin itself where the target cannot reject. Below -1 while the answer would not be a success without the detector; from there up to 1
    with how far the winning class is ahead of rejection. The margin, which is the lesser of both leads, holds rows back where an input is
    strange on its way to another class: there it climbs back to where the right class is accepted.
    """
    if aim.reject is None:
        return aim.margin(z)
    best, rejected = z.masked_fill(aim.loses, -torch.inf).amax(1), z[:, aim.reject]
    others = aim.wins.clone()
    others[:, aim.reject] = True
    ahead = best - z.masked_fill(others, -torch.inf).amax(1)
    return torch.where(ahead > 0, compressed(best - rejected), ahead - 1)


def compressed(lead: Tensor) -> Tensor:
    """A lead (m,) of any size, rising with it, in (-1, 1)."""
    return lead / (1 + lead.abs())


LOSSES: dict[LossName, Loss] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "probability-margin": probability_margin,
    "selective": selective,
}
