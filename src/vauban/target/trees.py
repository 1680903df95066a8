"""A tree ensemble of which everything is known: its structure for attacks that read it, and a smooth stand-in for those that follow gradients."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vauban.errors import Unsupported
from vauban.noise import RowNoise
from vauban.target.base import Surrogate
from vauban.target.forest import Forest
from vauban.target.sklearn import Sklearn
from vauban.target.tree_models import read_forest
from vauban.threat import Access


class Trees(Sklearn):
    """A fitted tree or tree ensemble as an insider sees it, who holds the file: scores, and every split and leaf.

    `Sklearn` around the same estimator shows its scores only. This target grants "gradient" access, which means the model itself: attacks on
    trees (`tree-exact`, `leaf-tuple`) read its `forest`, and attacks that follow gradients, which a tree has none of, take those of a
    softened one. What counts is in either case the estimator's own answer.

    Args:
        estimator: a fitted DecisionTree, ExtraTree, RandomForest, ExtraTrees, GradientBoosting or HistGradientBoosting classifier of
            scikit-learn, an XGBClassifier or an LGBMClassifier.
        name: what the record calls it; by default its type.
        softness: the width of the softened splits, as a share of the spread of each feature's thresholds.

    Raises:
        BadTarget: no such estimator, or one that is not fitted (see `Sklearn`).
        Unsupported: its trees cannot be read, or do not answer as the estimator does.
    """

    kind: ClassVar[str] = "trees"

    def __init__(self, estimator: object, *, name: str = "", softness: float = 0.1) -> None:
        super().__init__(estimator, name=name)
        wants = getattr(estimator, "n_features_in_", None)
        if wants is None:
            raise Unsupported(f"{self.name}: how many features it takes is not known; fit it again on a table")
        self.forest = read_forest(estimator, int(wants))
        self.access = Access.GRADIENT
        self._soft = SoftForest(self.forest, softness)

    @property
    def surrogate(self) -> Surrogate:
        return self._soft


class SoftForest(Surrogate):
    """A forest whose splits are sigmoids: an input goes both ways, each by its share, so that the scores have a slope.

    The width of a split is `softness` times the spread (the standard deviation) of the thresholds of its feature.
    """

    access = Access.GRADIENT

    def __init__(self, forest: Forest, softness: float = 0.1) -> None:
        self.forest = forest
        leaves = forest.leaves(torch.float64)
        spread = torch.ones(forest.features, dtype=torch.float64)
        for feature in range(forest.features):
            ends = leaves.hi[:, feature]
            ends = ends[torch.isfinite(ends)].unique()
            if len(ends):
                spread[feature] = ends.std(correction=0) if len(ends) > 1 else ends.abs()
        self.width = (softness * spread).clamp_min(1e-9)
        self.lo, self.hi, self.value = leaves.lo / self.width, leaves.hi / self.width, leaves.value
        at = (torch.isfinite(leaves.lo) | torch.isfinite(leaves.hi)).any(0)
        self.used = at.nonzero()[:, 0]

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Scores (n, classes): each leaf counts by the product, over its features, of how far inside its box the input is."""
        place = x.flatten(1).double() / self.width
        weight = torch.zeros(len(x), len(self.value), dtype=torch.float64)
        for feature in self.used.tolist():
            v = place[:, feature, None]
            lo, hi = self.lo[:, feature], self.hi[:, feature]
            weight = weight + torch.nn.functional.logsigmoid(v - lo) + torch.nn.functional.logsigmoid(hi - v)
        z = weight.exp() @ self.value + self.forest.base
        return z.to(x.dtype)
