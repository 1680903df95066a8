"""Trees as scikit-learn, XGBoost and LightGBM keep them, read into a `Forest` and checked against the model's own answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from vauban.errors import Unsupported
from vauban.target.forest import Array, Forest, Tree

CHECKED = 256
"""Inputs, most of them beside thresholds, on which a forest that was read must answer as the model does."""
FAMILIES = (
    "DecisionTreeClassifier, ExtraTreeClassifier, RandomForestClassifier, ExtraTreesClassifier, GradientBoostingClassifier and "
    "HistGradientBoostingClassifier of scikit-learn, XGBClassifier, LGBMClassifier"
)


@dataclass(frozen=True, eq=False)
class Found:
    """What a reader found: trees (their values one column for each of the model's raw outputs), and the raw outputs (n, outputs) of inputs."""

    trees: list[Tree]
    raw: Callable[[Array], Array]
    single: bool
    rough: float = 1e-12


def read_forest(model: object, features: int) -> Forest:
    """The trees of a fitted model.

    A model with one raw output for two classes gives scores (0, z). The prediction is the class of the highest score.

    Raises:
        Unsupported: no reader knows the model, it has splits that are no comparison with a number, or what was read does not answer as the
            model does.
    """
    name = type(model).__name__
    if name not in READERS:
        raise Unsupported(
            f"{name}: no trees can be read out of it; known are {FAMILIES} (the model itself, not a pipeline that ends in one)"
        )
    found = READERS[name](model)
    outputs = found.trees[0].value.shape[1]
    forest = Forest(found.trees, np.zeros(outputs), features, single=found.single, rough=found.rough)
    points = _telling_points(forest)
    told, read = _columns(found.raw(points)), forest.scores(torch.from_numpy(points)).numpy()
    base = (told - read)[0]
    wrong = np.abs(told - read - base).max()
    if not wrong <= 1e-5 * (1 + np.abs(told).max()):
        raise Unsupported(f"{name}: its trees were read, but their sum differs from the model's own answers by {wrong:.3g}")
    if outputs > 1:
        return Forest(found.trees, base, features, single=found.single, rough=found.rough)
    pairs = [Tree(t.feature, t.threshold, t.left, t.right, np.concatenate([0 * t.value, t.value], 1)) for t in found.trees]
    return Forest(pairs, np.array([0.0, base[0]]), features, single=found.single, rough=found.rough)


def _columns(raw: Array) -> Array:
    return raw.reshape(-1, 1) if raw.ndim == 1 else raw


def _telling_points(forest: Forest) -> Array:
    """Inputs that would tell a threshold from its neighbours: random thresholds, and the numbers right above and below them."""
    rng = np.random.default_rng(0)
    splits = [(int(f), float(t)) for tree in forest.trees for f, t in zip(tree.feature, tree.threshold, strict=True) if f >= 0]
    by_feature: dict[int, list[float]] = {}
    for feature, threshold in splits:
        by_feature.setdefault(feature, []).append(threshold)
    kind = np.float32 if forest.single else np.float64
    x = np.zeros((CHECKED, forest.features))
    for feature, thresholds in by_feature.items():
        chosen = rng.choice(np.array(thresholds), CHECKED).astype(kind)
        beside = rng.integers(0, 3, CHECKED)
        x[:, feature] = np.where(beside == 0, chosen, np.nextafter(chosen, np.where(beside == 1, np.inf, -np.inf).astype(kind)))
    return x


# ---- scikit-learn ---------------------------------------------------------------------------------------------------------------------


def _down(threshold: Array) -> Array:
    """The greatest float32 not above each float64: float32 inputs compare with both alike."""
    near = threshold.astype(np.float32)
    over = near.astype(np.float64) > threshold
    return np.where(over, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)


def _sklearn_tree(model: Any, column: int | None = None, columns: int = 1, weight: float = 1.0) -> Tree:
    """A classifier's tree with the shares of its classes; a regressor's with its value in one of several columns."""
    inner = model.tree_
    value = np.asarray(inner.value, dtype=np.float64)
    if value.shape[1] != 1:
        raise Unsupported(f"{type(model).__name__} has several outputs; Vauban attacks models with one class for each input")
    value = value[:, 0]
    if column is None:
        total = value.sum(1, keepdims=True)
        value = np.where(np.abs(total - 1) < 1e-9, value, value / total)
    else:
        value = np.eye(columns)[column] * value
    leaf = inner.children_left < 0
    feature = np.where(leaf, -1, inner.feature).astype(np.int64)
    left, right = inner.children_left.astype(np.int64), inner.children_right.astype(np.int64)
    return Tree(feature, _down(np.asarray(inner.threshold, dtype=np.float64)), left, right, value * weight)


def _single_tree(model: Any) -> Found:
    return Found([_sklearn_tree(model)], model.predict_proba, single=True)


def _mean_of_trees(model: Any) -> Found:
    members = cast("list[Any]", model.estimators_)
    return Found([_sklearn_tree(m, weight=1 / len(members)) for m in members], model.predict_proba, single=True)


def _gradient_boosting(model: Any) -> Found:
    stages = model.estimators_
    columns = stages.shape[1]
    trees = [_sklearn_tree(t, k, columns, model.learning_rate) for stage in stages for k, t in enumerate(stage)]
    return Found(trees, model.decision_function, single=True)


def _hist_gradient_boosting(model: Any) -> Found:
    stages = cast("list[list[Any]]", model._predictors)
    if model.is_categorical_ is not None and bool(np.any(model.is_categorical_)):
        raise Unsupported("HistGradientBoostingClassifier with categorical features splits by sets; give categories as 0/1 columns")
    columns = len(stages[0])
    return Found([_hist_tree(t.nodes, k, columns) for stage in stages for k, t in enumerate(stage)], model.decision_function, single=False)


def _hist_tree(nodes: Any, column: int, columns: int) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    feature = np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64)
    value = np.eye(columns)[column] * nodes["value"].astype(np.float64)[:, None]
    return Tree(feature, nodes["num_threshold"].astype(np.float64), nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), value)


# ---- boosters -------------------------------------------------------------------------------------------------------------------------


def _xgboost(model: Any) -> Found:
    booster = model.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    kind = learner["gradient_booster"]["name"]
    if kind != "gbtree":
        raise Unsupported(f"XGBClassifier with booster {kind!r}: only the sum of trees of 'gbtree' can be read")
    stored = learner["gradient_booster"]["model"]
    columns = max(int(learner["learner_model_param"]["num_class"]), 1)
    last = (booster.best_iteration + 1) * columns * _parallel(stored) if "best_iteration" in booster.attributes() else None
    trees = [_xgboost_tree(t, k, columns) for t, k in zip(stored["trees"][:last], stored["tree_info"], strict=False)]
    return Found(trees, lambda x: np.asarray(model.predict(x, output_margin=True), dtype=np.float64), single=True, rough=1e-6)


def _parallel(stored: dict[str, Any]) -> int:
    return max(int(stored["gbtree_model_param"].get("num_parallel_tree", 1)), 1)


def _xgboost_tree(tree: dict[str, Any], column: int, columns: int) -> Tree:
    if any(tree.get("split_type", ())):
        raise Unsupported("XGBClassifier with categorical features splits by sets; give categories as 0/1 columns")
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise Unsupported("XGBClassifier with vectors in its leaves (multi_strategy) cannot be read; train one tree for each class")
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    leaf = left < 0
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    value = np.eye(columns)[column] * condition.astype(np.float64)[:, None]
    # an input goes left where it is strictly below the condition: at most the float32 before it
    below = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return Tree(np.where(leaf, -1, np.array(tree["split_indices"])), below, left, right, value)


def _lightgbm(model: Any) -> Found:
    booster = model.booster_
    dumped = booster.dump_model()
    columns = int(dumped["num_tree_per_iteration"])
    trees = [_lightgbm_tree(t["tree_structure"], i % columns, columns) for i, t in enumerate(dumped["tree_info"])]
    return Found(trees, lambda x: np.asarray(booster.predict(x, raw_score=True), dtype=np.float64), single=False)


def _lightgbm_tree(root: dict[str, Any], column: int, columns: int) -> Tree:
    feature: list[int] = []
    threshold: list[float] = []
    children: list[list[int]] = []
    value: list[float] = []
    waiting: list[tuple[dict[str, Any], int, int]] = [(root, -1, 0)]
    while waiting:
        node, parent, side = waiting.pop()
        place = len(feature)
        if parent >= 0:
            children[parent][side] = place
        split = "split_feature" in node
        if split and (node["decision_type"] != "<=" or node["missing_type"] == "Zero"):
            raise Unsupported("LGBMClassifier with categorical features or zero_as_missing cannot be read; give categories as 0/1 columns")
        if "leaf_coeff" in node:
            raise Unsupported("LGBMClassifier with linear_tree has no constant leaves; train it without")
        feature.append(node["split_feature"] if split else -1)
        threshold.append(node["threshold"] if split else np.inf)
        value.append(0.0 if split else node["leaf_value"])
        children.append([-1, -1])
        if split:
            waiting += [(node["left_child"], place, 0), (node["right_child"], place, 1)]
    left, right = np.array(children, dtype=np.int64).T
    return Tree(np.array(feature), np.array(threshold), left, right, np.eye(columns)[column] * np.array(value)[:, None])


READERS: dict[str, Callable[[Any], Found]] = {
    "DecisionTreeClassifier": _single_tree,
    "ExtraTreeClassifier": _single_tree,
    "RandomForestClassifier": _mean_of_trees,
    "ExtraTreesClassifier": _mean_of_trees,
    "GradientBoostingClassifier": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "XGBClassifier": _xgboost,
    "LGBMClassifier": _lightgbm,
}
