"""Attacks on trees against the truth: all leaves, all meetings of leaves, dense grids, and the estimator's own answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from vauban.attacks import Attack, leaf_tuple, tree_exact
from vauban.attacks.evasion.tabular.leaf_tuple import Search
from vauban.attacks.parts.forests import Reach
from vauban.attacks.suites import suite
from vauban.bounds.trees import certify_trees
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.target import Sklearn, Trees, restrict
from vauban.threat import INF, Access, Ball, Feature, Features, Goal, Threat

pytest.importorskip("sklearn")
from sklearn.datasets import make_blobs, make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

torch.set_num_threads(1)
NORMS = ("linf", "l2", "l1", "l0")
ANY = Goal()


def data(features: int = 4, classes: int = 2, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    if features == 2:
        x, y = make_blobs(n, 2, centers=classes, cluster_std=2.0, random_state=1)
    else:
        x, y = make_classification(
            n, features, n_informative=features, n_redundant=0, n_classes=classes, n_clusters_per_class=1, random_state=0
        )
    x = (x - x.min(0)) / (x.max(0) - x.min(0))
    return x.astype(np.float32).astype(np.float64), y


def attacked(target: Any, x: np.ndarray, y: np.ndarray, attack: Attack, ball: Any, goal: Goal = ANY, **options: Any) -> Oracle:
    o = Oracle(target, torch.from_numpy(x).float(), torch.from_numpy(y), Threat("t", ball, goal=goal), settle="nearest", **options)
    attack(o)
    return o


def boxes(estimator: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Leaves by a walk of scikit-learn's own arrays, with open lower ends: lo < x <= hi, and the leaf's value."""
    t = estimator.tree_

    def walk(node: int, lo: np.ndarray, hi: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        if t.children_left[node] < 0:
            yield lo, hi, t.value[node, 0]
            return
        f, at = t.feature[node], t.threshold[node]
        below, above = hi.copy(), lo.copy()
        below[f], above[f] = min(hi[f], at), max(lo[f], at)
        yield from walk(t.children_left[node], lo, below)
        yield from walk(t.children_right[node], above, hi)

    d = t.n_features
    yield from walk(0, np.full(d, -np.inf), np.full(d, np.inf))


def infimum(x: np.ndarray, lo: np.ndarray, hi: np.ndarray, norm: str) -> float:
    """How near a box comes to x inside [0, 1], never mind whether the nearest point is in it; inf where the box is empty."""
    low, high = np.maximum(lo, 0.0), np.minimum(hi, 1.0)
    if (lo >= hi).any() or (lo >= 1).any() or (high < low).any():
        return INF
    d = np.maximum(low - x, 0) + np.maximum(x - high, 0)
    changed = (x <= lo) | (x > hi)
    return {"linf": d.max(), "l2": np.sqrt((d**2).sum()), "l1": d.sum(), "l0": float(changed.sum())}[norm]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("norm", NORMS)
def test_one_tree_against_a_walk_over_all_its_leaves(norm: str, classes: int) -> None:
    x, y = data(classes=classes)
    model = DecisionTreeClassifier(random_state=0).fit(x[:100], y[:100])
    o = attacked(Trees(model), x[100:], y[100:], tree_exact(), Ball(1, norm))
    r = o.outcome
    right = model.predict(x[100:]) == y[100:]
    assert torch.equal(r.correct, torch.from_numpy(right))
    for i in np.flatnonzero(right):
        leaves = [(lo, hi) for lo, hi, value in boxes(model) if value.argmax() != y[100 + i]]
        truth = min(infimum(x[100 + i], lo, hi, norm) for lo, hi in leaves)
        assert truth <= float(r.distance[i]) <= truth * (1 + 1e-6) + 1e-6
    assert (model.predict(r.best.numpy().astype(np.float64)) != y[100:])[np.isfinite(r.distance.numpy())].all(), "fooled in earnest"
    assert int(r.queries.max()) == 1, "one question a row is enough"


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize(
    "make", [lambda: DecisionTreeClassifier(random_state=0), lambda: RandomForestClassifier(5, max_depth=4, random_state=0)]
)
def test_no_point_of_a_dense_grid_is_nearer(norm: str, make: Any) -> None:
    x, y = data(2, 3)
    model = make().fit(x[:100], y[:100])
    o = attacked(Trees(model), x[100:], y[100:], tree_exact(), Ball(1, norm))
    axis = np.linspace(0, 1, 201)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    answers, p = model.predict(grid), {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    for i in np.flatnonzero(o.outcome.correct.numpy()):
        nearest = np.linalg.norm((grid - x[100 + i])[answers != y[100 + i]], ord=p, axis=1).min()
        assert float(o.outcome.distance[i]) <= nearest + 1e-6
        assert float(o.outcome.distance[i]) >= nearest - 0.05, "and near a winning grid point: cells of other leaves are not that thin"


def brute_force(model: Any, x: np.ndarray, y: int, norm: str) -> float:
    """The smallest change that fools a forest, over all meetings of one leaf of each tree."""
    best = INF
    for leaves in itertools.product(*[list(boxes(t)) for t in model.estimators_]):
        lo, hi = np.max([b[0] for b in leaves], 0), np.min([b[1] for b in leaves], 0)
        if (lo < hi).all():
            votes = np.mean([b[2] for b in leaves], 0)
            if np.delete(votes, y).max() > votes[y] + 1e-12:
                best = min(best, infimum(x, lo, hi, norm))
    return best


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_a_small_ensemble_against_all_meetings_of_leaves(norm: str, kind: Any) -> None:
    x, y = data(classes=3)
    model = kind(3, max_depth=3, random_state=0).fit(x[:100], y[:100])
    some, target = slice(100, 108), Trees(model)
    exact = attacked(target, x[some], y[some], tree_exact(), Ball(1, norm)).outcome
    found = attacked(target, x[some], y[some], leaf_tuple(), Ball(1, norm)).outcome
    for i in np.flatnonzero(exact.correct.numpy()):
        truth = brute_force(model, x[some][i], int(y[some][i]), norm)
        assert truth <= float(exact.distance[i]) <= truth * (1 + 1e-6) + 1e-6
        assert float(found.distance[i]) >= truth, "no attack beats the truth"
    won = exact.correct & torch.isfinite(exact.distance)
    assert torch.isfinite(found.distance[won]).all()
    assert float((found.distance[won] / exact.distance[won]).mean()) < (1.6 if norm == "l0" else 1.2)


def _booster(name: str) -> Any:
    if name == "xgboost":
        return pytest.importorskip("xgboost", reason="XGBoost is not installed: pip install 'vauban[trees]'").XGBClassifier(
            n_estimators=8, max_depth=3, n_jobs=1
        )
    if name == "lightgbm":
        return pytest.importorskip("lightgbm", reason="LightGBM is not installed: pip install 'vauban[trees]'").LGBMClassifier(
            n_estimators=8, max_depth=3, min_child_samples=5, verbose=-1, n_jobs=1
        )
    return {
        "boosting": GradientBoostingClassifier(n_estimators=8, random_state=0),
        "histogram": HistGradientBoostingClassifier(max_iter=8, max_depth=3, min_samples_leaf=5),
        "forest": RandomForestClassifier(12, max_depth=5, random_state=0),
    }[name]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["forest", "boosting", "histogram", "xgboost", "lightgbm"])
def test_leaf_tuples_fool_the_real_model_and_are_never_nearer_than_the_exact(name: str, norm: str) -> None:
    x, y = data(classes=3 if name in ("forest", "xgboost") else 2)
    model = _booster(name).fit(x[:110], y[:110])
    target, some = Trees(model), slice(110, 120)
    exact = attacked(target, x[some], y[some], tree_exact(regions=10_000), Ball(1, norm)).outcome
    found = attacked(target, x[some], y[some], leaf_tuple(starts=8), Ball(1, norm)).outcome
    known = torch.isfinite(exact.distance) & exact.correct
    assert known.sum() >= 2
    assert (found.distance[known] >= exact.distance[known] * (1 - 1e-9)).all()
    assert torch.isfinite(found.distance[known]).double().mean() > 0.9
    for r in (exact, found):
        fell = (torch.isfinite(r.distance) & r.correct).numpy()
        assert (model.predict(r.best.numpy().astype(np.float64)) != y[some])[fell].all()


def test_a_descent_ends_where_no_neighbouring_tuple_wins_and_is_nearer() -> None:
    """Every leaf of every tree, put in the place of the one in the tuple, by hand."""
    x, y = data(classes=3)
    target = Trees(RandomForestClassifier(6, max_depth=4, random_state=0).fit(x[:100], y[:100]))
    forest, clean = target.forest, torch.from_numpy(x[100:110]).float()
    o = Oracle(target, clean, torch.from_numpy(y[100:110]), Threat("t", Ball(1, "l2")), settle="nearest")
    leaves = forest.leaves(torch.float32)
    checked = 0
    with o.attacking("descent", Access.GRADIENT, minimal=True):
        search = Search(forest, leaves, Reach.of(o, torch.arange(len(o))))
        begun = forest.apply(1 - o.x)
        ended = search.descended(begun, 100)
        (_, before), (_, at) = search.end(begun), search.end(ended)
        for row in torch.isfinite(before).nonzero()[:, 0].tolist():
            assert at[row] <= before[row]
            for leaf, tree in enumerate(leaves.tree.tolist()):
                other = ended[row].clone()
                other[tree] = leaf
                lo, hi = leaves.lo[other].amax(0).clamp_min(0), leaves.hi[other].amin(0).clamp_max(1)
                score, c = forest.of(other), o.x[row].double()
                if (lo <= hi).all() and score.argmax() != o.aim.y[row] and score.max() > score[o.aim.y[row]] + 1e-9:
                    assert float((c.clamp(lo, hi) - c).norm()) >= float(at[row]) - 1e-9
                    checked += 1
    assert checked > 20


def test_proofs_and_exact_distances_agree_about_every_row() -> None:
    x, y = data(classes=3)
    model = RandomForestClassifier(5, max_depth=4, random_state=0).fit(x[:100], y[:100])
    target = Trees(model)
    exact = attacked(target, x[100:], y[100:], tree_exact(), Ball(1, "l2")).outcome
    for eps in (0.01, 0.03, 0.1):
        lead = certify_trees(target, torch.from_numpy(x[100:]).float(), torch.from_numpy(y[100:]), Ball(eps, "l2"), most=1 << 20)
        robust = exact.correct & (exact.distance > eps)
        assert torch.equal(lead > -1e-9, robust), "merged into one group, the bound is exact; a tie is the defender's, though no proof"
        rough = certify_trees(target, torch.from_numpy(x[100:]).float(), torch.from_numpy(y[100:]), Ball(eps, "l2"), most=1)
        assert (rough <= lead + 1e-9).all()
        assert not ((rough > 0) & ~robust).any()


def test_bounds_hold_for_sampled_points_of_boosting() -> None:
    x, y = data()
    target = Trees(GradientBoostingClassifier(n_estimators=30, random_state=0).fit(x[:100], y[:100]))
    clean, labels = torch.from_numpy(x[100:]).float(), torch.from_numpy(y[100:])
    lead = certify_trees(target, clean, labels, Ball(0.02), most=1 << 12)
    noise = torch.rand(200, *clean.shape, generator=torch.Generator().manual_seed(0)) * 0.04 - 0.02
    score = target.forest.scores((clean + noise).clamp(0, 1))
    seen = torch.where(labels == 1, score[..., 1] - score[..., 0], score[..., 0] - score[..., 1])
    assert (seen.amin(0) >= lead).all()
    assert (lead > 0).any()


@pytest.mark.parametrize("attack", [tree_exact(), leaf_tuple(starts=3)], ids=["tree-exact", "leaf-tuple"])
class TestContract:
    """The laws of the common contract, on a forest."""

    def world(self) -> tuple[Trees, np.ndarray, np.ndarray]:
        x, y = data(classes=3)
        return Trees(RandomForestClassifier(4, max_depth=3, random_state=0).fit(x[:100], y[:100])), x[100:120], y[100:120]

    def test_a_row_does_not_feel_its_batch(self, attack: Attack) -> None:
        target, x, y = self.world()
        whole = attacked(target, x, y, attack, Ball(1, "l2")).outcome
        for i in (3, 0, 11):
            alone = attacked(target, x[i : i + 1], y[i : i + 1], attack, Ball(1, "l2"), ids=torch.tensor([i])).outcome
            assert alone.distance[0] == whole.distance[i]
            assert alone.queries[0] == whole.queries[i]

    @pytest.mark.parametrize("budget", [0, 1, 2])
    def test_never_overspends(self, attack: Attack, budget: int) -> None:
        target, x, y = self.world()
        o = Oracle(target, torch.from_numpy(x).float(), torch.from_numpy(y), Threat("t", Ball(0.5), queries=budget))
        attack(o)
        assert int(o.outcome.queries.max()) <= budget
        assert bool(o.outcome.broken[o.outcome.correct].any()) is (budget > 0)

    def test_goals_are_met_as_stated(self, attack: Attack) -> None:
        target, x, y = self.world()
        o = attacked(target, x, y, attack, Ball(1), Goal(wanted=2))
        won = o.outcome.broken
        assert won.any()
        assert (target.labels(o.outcome.best[won]) == 2).all()

    def test_what_may_not_change_does_not(self, attack: Attack) -> None:
        target, x, y = self.world()
        o = attacked(target, x, y, attack, Ball(1, mask=[True, False, True, True]))
        assert torch.equal(o.outcome.best[:, 1], torch.from_numpy(x).float()[:, 1])
        assert o.outcome.broken[o.outcome.correct].any()

    def test_a_black_box_shows_no_trees(self, attack: Attack) -> None:
        target, x, y = self.world()
        with pytest.raises(BadPlan, match="shows no trees"):
            attacked(_Pretender(target.estimator), x, y, attack, Ball(1))
        assert attack.name not in [a.name for a in suite("vauban", Threat("t", Ball(1)), (4,))]
        assert not isinstance(restrict(target, "score"), Trees)

    @pytest.mark.parametrize("related", [False, True])
    def test_constraints_on_features_are_kept_exactly(self, attack: Attack, related: bool) -> None:
        """A tree over whole numbers, a direction and a category: the answer by trying every legal row."""
        g = np.random.default_rng(0)
        months, loans = g.integers(0, 13, 300), g.integers(0, 6, 300)
        kind = g.integers(0, 3, 300)
        x = np.concatenate([np.stack([months, loans], 1), np.eye(3)[kind]], 1).astype(np.float64)
        y = ((months + 2 * loans + 3 * (kind == 1)) % 7 > 3).astype(np.int64)
        model = RandomForestClassifier(3, max_depth=5, random_state=0).fit(x, y)
        columns = [
            Feature("months", 0, 12, "integer", "up", scale=4),
            Feature("loans", 0, 5, "integer"),
            *(Feature(n, kind="category", group="kind") for n in "abc"),
        ]
        legal = np.array([[m, n, *np.eye(3)[k]] for m in range(13) for n in range(6) for k in range(3) if n <= m + 1 or not related])
        fine = (x[:, 1] <= x[:, 0] + 1) & (model.predict(x) == y)
        x, y = x[fine][:15], y[fine][:15]
        allowed = Features(columns, 4, "l1", relations=["loans <= months + 1"] if related else [])
        r = attacked(Trees(model), x, y, attack, allowed).outcome
        scale = np.array([4, 5, 1, 1, 1])
        for i in range(15):
            near = np.abs((legal - x[i]) / scale).sum(1)
            wins = (model.predict(legal) != y[i]) & (legal[:, 0] >= x[i, 0])
            truth = near[wins].min() if wins.any() else INF
            assert float(r.distance[i]) >= truth - 1e-6
            if attack.name == "tree-exact" and not related:  # relations are only checked at the nearest points of boxes
                assert float(r.distance[i]) <= truth + 1e-6


class _Pretender(Sklearn):
    """An estimator that claims to show all and shows no trees."""

    def __init__(self, estimator: object) -> None:
        super().__init__(estimator)
        self.access = Access.GRADIENT
