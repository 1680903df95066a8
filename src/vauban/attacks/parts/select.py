"""Row by row, one tensor or another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vauban.geometry import per_row


def pick(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Row by row, `a` where the mask (n,) holds, else `b`.

    >>> pick(torch.tensor([True, False]), torch.ones(2, 1), torch.zeros(2, 1)).flatten()
    tensor([1., 0.])
    """
    return torch.where(per_row(mask, a), a, b)


def cosine(step: int, steps: int, first: float, last: float) -> float:
    """A value that falls from `first` to `last` along half a cosine as `step` goes from 0 to `steps`.

    >>> cosine(0, 10, 1.0, 0.0), round(cosine(10, 10, 1.0, 0.0), 12)
    (1.0, 0.0)
    """
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
