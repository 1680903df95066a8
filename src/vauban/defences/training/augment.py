"""Augmented batches: images shifted and mirrored, in noise that belongs to the rows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vauban.defences.training.recipe import Recipe
from vauban.defences.training.rows import Part
from vauban.errors import BadPlan
from vauban.noise import RowNoise


def augmented(batch: Part, recipe: Recipe, epoch: int) -> Part:
    """The batch as it is trained on in an epoch: each image shifted by up to `shift` pixels each way (edges filled with 0), and with `mirror`
    turned left to right with a chance of one half (Krizhevsky et al. 2012).

    Raises:
        BadPlan: the inputs are no images.
    """
    if not (recipe.shift or recipe.mirror):
        return batch
    if batch.x.ndim != 4:
        raise BadPlan(f"shift and mirror are for images (channels, height, width); these inputs have shape {tuple(batch.x.shape[1:])}")
    noise = RowNoise(batch.ids, recipe.seed, "augment", epoch)
    x = _mirrored(batch.x, noise.fork("mirror")) if recipe.mirror else batch.x
    return replace(batch, x=_shifted(x, recipe.shift, noise.fork("shift")) if recipe.shift else x)


def _mirrored(x: Tensor, noise: RowNoise) -> Tensor:
    turned = noise.integers(2, 1)[:, 0].bool().to(x.device)
    return torch.where(turned.view(-1, 1, 1, 1), x.flip(-1), x)


def _shifted(x: Tensor, most: int, noise: RowNoise) -> Tensor:
    offset = noise.integers(2 * most + 1, 2).to(x.device)
    wide = torch.nn.functional.pad(x, (most, most, most, most))
    n, channels, height, width = x.shape
    rows = offset[:, :1] + torch.arange(height, device=x.device)
    columns = offset[:, 1:] + torch.arange(width, device=x.device)
    index = (rows[:, :, None] * wide.shape[-1] + columns[:, None, :]).view(n, 1, -1).expand(-1, channels, -1)
    return wide.flatten(2).gather(2, index).view_as(x)
