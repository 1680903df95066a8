"""The memory of ascents with momentum, in steps."""

from __future__ import annotations

from torch import Tensor

from vauban.geometry import per_row


def unit_mean(gradient: Tensor) -> Tensor:
    """Each row over the mean size of its features, so that a momentum of them is as long as a step; zero rows stay zero."""
    return gradient / per_row(gradient.flatten(1).abs().mean(1).clamp_min(1e-30), gradient)
