"""A sum of decision trees as plain tensors: which leaf an input falls in, what it is worth, and the box of inputs that fall in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]
INF = float("inf")


@dataclass(frozen=True, eq=False)
class Tree:
    """One decision tree; the root is node 0.

    Attributes:
        feature: int64 (nodes,), the feature a node looks at; -1 at leaves.
        threshold: float64 (nodes,), an input goes left where its feature is at most this; a number of the type the model compares in.
        left, right: int64 (nodes,), the children.
        value: float64 (nodes, classes), what a leaf adds to the scores.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    value: Array


@dataclass(frozen=True, eq=False)
class Leaves:
    """The leaves of a forest, tree after tree, with the inputs that fall in each: lo <= x <= hi in every feature, both ends included.

    Attributes:
        lo, hi: float64 (leaves, features), ends that are numbers of the inputs' type; -inf and inf where there is none. A box that holds no
            number of that type has lo > hi somewhere.
        value: float64 (leaves, classes).
        tree: int64 (leaves,), the tree of each.
    """

    lo: Tensor
    hi: Tensor
    value: Tensor
    tree: Tensor


class Forest:
    """The scores of an input are `base` and what its leaf in each tree adds.

    Args:
        trees: at least one.
        base: float64 (classes,).
        features: how many an input has.
        single: whether features are rounded to float32 before they are compared (scikit-learn's trees, XGBoost), or compared in float64
            (histogram gradient boosting, LightGBM).
        rough: what the model's own sum may differ by from one in float64, relative to the largest sum of its leaves.
    """

    def __init__(self, trees: Sequence[Tree], base: Array, features: int, *, single: bool, rough: float = 1e-12) -> None:
        self.trees, self.features, self.single = tuple(trees), features, single
        self.base = torch.from_numpy(np.asarray(base, dtype=np.float64))
        self.classes = len(self.base)
        width = max(len(t.feature) for t in self.trees)
        self._feature, self._left, self._right = (torch.zeros(len(self.trees), width, dtype=torch.int64) for _ in range(3))
        self._threshold = torch.full((len(self.trees), width), INF, dtype=torch.float64)
        self._leaf = torch.zeros(len(self.trees), width, dtype=torch.int64)
        values: list[Array] = []
        for i, tree in enumerate(self.trees):
            self._fill(i, tree, sum(map(len, values)))
            values.append(tree.value[tree.feature < 0])
        self.value = torch.from_numpy(np.concatenate(values))
        self.tree_of = torch.from_numpy(np.repeat(np.arange(len(values)), [len(v) for v in values]))
        self.depth = max(map(_depth, self.trees))
        self.slack = rough * float(self.base.abs().max() + sum(np.abs(v).max() for v in values))
        self._boxes = lru_cache(2)(self._made)

    def _fill(self, i: int, tree: Tree, first: int) -> None:
        n, leaf = len(tree.feature), tree.feature < 0
        own = np.arange(n)
        self._feature[i, :n] = torch.from_numpy(np.where(leaf, 0, tree.feature))
        self._threshold[i, :n] = torch.from_numpy(np.where(leaf, INF, tree.threshold))
        self._left[i, :n] = torch.from_numpy(np.where(leaf, own, tree.left))
        self._right[i, :n] = torch.from_numpy(np.where(leaf, own, tree.right))
        self._leaf[i, :n] = torch.from_numpy(np.where(leaf, first + np.cumsum(leaf) - 1, -1))

    def __len__(self) -> int:
        """Trees."""
        return len(self.trees)

    def apply(self, x: Tensor) -> Tensor:
        """The leaf of each input (..., features) in each tree: int64 (..., trees), an index into `value` and `leaves`."""
        flat = x.reshape(-1, self.features)
        seen = (flat.float() if self.single else flat).double().cpu()
        every = torch.arange(len(self))
        at = torch.zeros(len(seen), len(self), dtype=torch.int64)
        for _ in range(self.depth):
            left = seen.gather(1, self._feature[every, at]) <= self._threshold[every, at]
            at = torch.where(left, self._left[every, at], self._right[every, at])
        return self._leaf[every, at].view(*x.shape[:-1], len(self))

    def of(self, leaves: Tensor) -> Tensor:
        """The scores of inputs in these leaves (..., trees): float64 (..., classes)."""
        return self.value[leaves].sum(-2) + self.base

    def scores(self, x: Tensor) -> Tensor:
        """The scores of inputs (..., features): float64 (..., classes)."""
        return self.of(self.apply(x))

    def leaves(self, dtype: torch.dtype) -> Leaves:
        """The boxes of all leaves, for inputs of a float type."""
        return self._boxes(torch.float32 if dtype == torch.float32 else torch.float64)

    def _made(self, dtype: torch.dtype) -> Leaves:
        lo, hi = self._exact
        if self.single and dtype == torch.float64:
            lo, hi = _least_that_rounds_to(lo), -_least_that_rounds_to(-hi)
        if not self.single and dtype == torch.float32:
            lo, hi = _up(lo), -_up(-hi)
        return Leaves(lo, hi, self.value, self.tree_of)

    @cached_property
    def _exact(self) -> tuple[Tensor, Tensor]:
        """The boxes in numbers of the type that the model compares in, (leaves, features) each."""
        lo = np.full((len(self.value), self.features), -INF)
        hi = np.full_like(lo, INF)
        first = 0
        for tree in self.trees:
            place = first + np.cumsum(tree.feature < 0) - 1
            for node, path in _paths(tree):
                for feature, threshold, left in path:
                    if left:
                        hi[place[node], feature] = min(hi[place[node], feature], threshold)
                    else:
                        lo[place[node], feature] = max(lo[place[node], feature], self._next(threshold))
            first += int((tree.feature < 0).sum())
        return torch.from_numpy(lo), torch.from_numpy(hi)

    def _next(self, threshold: float) -> float:
        """The least number above a threshold, of the type that the model compares in."""
        kind = np.float32 if self.single else np.float64
        return float(np.nextafter(kind(threshold), kind(INF)))


Step = tuple[int, float, bool]


def _paths(tree: Tree) -> list[tuple[int, tuple[Step, ...]]]:
    """Every leaf with the decisions that lead to it: feature, threshold, whether left."""
    found: list[tuple[int, tuple[Step, ...]]] = []
    waiting: list[tuple[int, tuple[Step, ...]]] = [(0, ())]
    while waiting:
        node, path = waiting.pop()
        feature = int(tree.feature[node])
        if feature < 0:
            found.append((node, path))
            continue
        threshold = float(tree.threshold[node])
        waiting.append((int(tree.left[node]), (*path, (feature, threshold, True))))
        waiting.append((int(tree.right[node]), (*path, (feature, threshold, False))))
    return found


def _depth(tree: Tree) -> int:
    return max(len(path) for _, path in _paths(tree))


def _up(x: Tensor) -> Tensor:
    """The least float32 that is not below a float64."""
    near = x.float()
    return torch.where(near.double() < x, torch.nextafter(near, torch.full_like(near, INF)), near).double()


def _least_that_rounds_to(x: Tensor) -> Tensor:
    """The least float64 that rounding to float32 takes to a float32 `x` or beyond it; what has no end stays so."""
    single = x.float()
    below = torch.nextafter(single, torch.full_like(single, -INF)).double()
    middle = torch.where(torch.isinf(x), x, (below + x) / 2)
    return torch.where(middle.float().double() < x, torch.nextafter(middle, torch.full_like(middle, INF)), middle)
