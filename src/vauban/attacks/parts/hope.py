"""How near a row is to falling, so that effort goes where it can still pay."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.threat import INF


def lacking(top: Tensor, clean: Tensor) -> Tensor:
    """What the best margin `top` still lacks of the other side, as a share of what it gained since the `clean` input (n,): inf where nothing.

    Free of the scale of the scores, and of a constant added to them.

    >>> lacking(torch.tensor([-1.0, -1.0, -3.0]), torch.tensor([-3.0, -2.0, -3.0])).tolist()
    [0.5, 1.0, inf]
    """
    return torch.where(top > clean, -top / (top - clean), INF)
