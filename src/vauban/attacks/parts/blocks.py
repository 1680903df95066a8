"""Which features a tree search over signs turns round next: blocks that are halved level by level."""

from __future__ import annotations

import torch
from torch import Tensor


def block_size(features: int, level: Tensor) -> Tensor:
    """Features in one block of a level, int64 (n,): all at level 0, half of them at level 1, and so on down to 1."""
    return -(-features // 2**level)


def flipped(signs: Tensor, level: Tensor, block: Tensor) -> Tensor:
    """Signs (n, *shape) with a block of each row turned round: features in C order, number `block` int64 (n,) of its level; -1 is none.

    >>> flipped(torch.ones(1, 4), torch.tensor([1]), torch.tensor([1]))
    tensor([[ 1.,  1., -1., -1.]])
    """
    flat = signs.flatten(1)
    size = block_size(flat.shape[1], level)
    first = (block * size)[:, None]
    place = torch.arange(flat.shape[1], device=signs.device)
    inside = (place >= first) & (place < first + size[:, None])
    return torch.where(inside, -flat, flat).view_as(signs)


def following(features: int, level: Tensor, block: Tensor, by: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The block after `by` others, or the first one of the next level; the last level, of single features, comes again and again.

    Returns:
        level and block, int64 (n,), and whether a level of single features was gone through, bool (n,).
    """
    top = (features - 1).bit_length()
    block = block + by
    over = block * block_size(features, level) >= features
    return torch.where(over, (level + 1).clamp_max(top), level), torch.where(over, 0, block), over & (level == top)
