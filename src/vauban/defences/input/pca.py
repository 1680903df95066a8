"""Projection on the principal components of clean inputs, so that what clean inputs never do is taken away."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.input.checks import enough
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData
from vauban.settings import Positive
from vauban.target import Preprocessed, Target

ROWS = 20
"""Clean rows that it is fitted on, at least."""


@defence(
    "input",
    claims="changes outside the space that clean inputs span, in any norm",
    adaptive="its own gradient: the projection is linear, and what is left of the space is enough",
    paper="Bhagoji et al. 2018, arXiv:1704.02654",
    owes=THROUGH,
    broken="under attacks through the projection (Carlini and Wagner 2017, arXiv:1705.07263)",
)
def pca(target: Target, clean: Clean, *, keep: Positive = 0.95) -> Target:
    """Projects inputs on the first principal components of clean rows; `keep` is their number, or below 1 the share of the variance they hold."""
    return Preprocessed(Projection.fitted(clean.x, keep), target, differentiable=True)


class Projection:
    """x on the plane through `mean` (features,) along the orthonormal rows of `basis` (components, features)."""

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        self.mean, self.basis = mean, basis

    @classmethod
    def fitted(cls, x: Tensor, keep: float) -> Projection:
        """On inputs (n, *shape).

        Raises:
            BadData: too few rows for so many components, or rows that are all alike.
        """
        rows = x.flatten(1).double()
        wanted = int(keep) if keep >= 1 else 1
        enough(len(rows), max(wanted + 1, ROWS), "pca", f" with {wanted} components" if keep >= 1 else "")
        if wanted > rows.shape[1]:
            raise BadData(f"defence 'pca': keep = {wanted} components, and these inputs have {rows.shape[1]} features; keep fewer")
        mean = rows.mean(0)
        _, lengths, axes = torch.linalg.svd(rows - mean, full_matrices=False)
        share = (lengths**2).cumsum(0) / (lengths**2).sum()
        if not bool(torch.isfinite(share).all()):
            raise BadData("defence 'pca': all clean rows are alike, or not finite; give rows that vary")
        count = wanted if keep >= 1 else int((share < keep - 1e-12).sum()) + 1
        return cls(mean.float(), axes[:count].float())

    def __call__(self, x: Tensor) -> Tensor:
        flat, mean, basis = x.flatten(1), self.mean.to(x), self.basis.to(x)
        if flat.shape[1] != len(mean):
            raise BadData(f"defence 'pca' was fitted on {len(mean)} features, and these inputs have {flat.shape[1]}")
        return (mean + (flat - mean) @ basis.T @ basis).view_as(x)
