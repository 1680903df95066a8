"""Objectives, always to be raised: functions of an aim and scores (n, classes), to values (n,)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vauban.doors import Aim, Loss

LossName = Literal["cross-entropy", "margin", "dlr", "probability-margin"]


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
    ordered = torch.sort(z, dim=1, descending=True).values
    classes = z.shape[1]
    if classes == 2:
        return aim.margin(z)
    if not aim.wanted:
        return aim.margin(z) / (ordered[:, 0] - ordered[:, 2] + 1e-12)
    third = (ordered[:, 1] + ordered[:, 2]) / 2 if classes == 3 else (ordered[:, 2] + ordered[:, 3]) / 2
    own = z.gather(1, aim.y[:, None])[:, 0]
    return (z.gather(1, aim.anchor[:, None])[:, 0] - own) / (ordered[:, 0] - third + 1e-12)


def probability_margin(aim: Aim, z: Tensor) -> Tensor:
    """The margin of probabilities (PMA, arXiv:2411.15210)."""
    return aim.margin(z.softmax(1))


LOSSES: dict[LossName, Loss] = {"cross-entropy": cross_entropy, "margin": margin, "dlr": dlr, "probability-margin": probability_margin}
