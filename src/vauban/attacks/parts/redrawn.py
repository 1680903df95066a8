"""Another move for the rows whose move would change nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.doors import Rows

TRIES = 8
"""After so many moves that change nothing, a row has hardly any other: one of an input with a handful of features is asked about again."""


def redrawn(block: Rows, turn: int, move: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Move by the pairs of windows that were drawn for a turn; rows that this leaves as they were turn the bump round, then take the pairs of
    the turns after it.

    Args:
        block: `place`, `other` (rows, turns, ...) and `bump` (rows, turns, groups, m).
        turn: which of them.
        move: makes the moves of all rows, whatever was made before, and says which rows are as they were, bool (n,).
    """
    idle = move(block.place.select(1, turn), block.other.select(1, turn), block.bump.select(1, turn))
    rows = torch.arange(len(idle), device=idle.device)
    at, sign = torch.full_like(rows, turn), torch.ones_like(block.bump[:, 0, :1, :1])
    for k in range(1, TRIES):
        if not bool(idle.any()):
            return
        at = torch.where(idle, (turn + k // 2) % block.place.shape[1], at)
        sign = torch.where(idle[:, None, None], 1.0 - 2.0 * (k % 2), sign)
        idle = move(block.place[rows, at], block.other[rows, at], sign * block.bump[rows, at])
