"""Trees read out of an estimator answer as it does, to the last bit of every threshold; and what cannot be read is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vauban.errors import BadTarget, NotGranted
from vauban.target import Trees, load_target, restrict
from vauban.threat import Access

pytest.importorskip("sklearn")
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

torch.set_num_threads(1)


def _xgboost(**settings: Any) -> Any:
    return pytest.importorskip("xgboost", reason="XGBoost is not installed: pip install 'vauban[trees]'").XGBClassifier(
        n_jobs=1, **settings
    )


def _lightgbm(**settings: Any) -> Any:
    module = pytest.importorskip("lightgbm", reason="LightGBM is not installed: pip install 'vauban[trees]'")
    return module.LGBMClassifier(n_jobs=1, verbose=-1, min_child_samples=5, **settings)


MODELS = {
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "extra tree": lambda: ExtraTreeClassifier(random_state=0),
    "forest": lambda: RandomForestClassifier(7, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(7, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=6, random_state=0),
    "exponential boosting": lambda: GradientBoostingClassifier(n_estimators=6, loss="exponential", random_state=0),
    "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=6, min_samples_leaf=5),
    "xgboost": lambda: _xgboost(n_estimators=6),
    "xgboost, no base score": lambda: _xgboost(n_estimators=6, base_score=0.3),
    "lightgbm": lambda: _lightgbm(n_estimators=6),
}


def data(classes: int) -> tuple[np.ndarray, np.ndarray]:
    if classes == 3:
        return load_iris(return_X_y=True)
    x, y = make_classification(200, 6, n_informative=4, random_state=0)
    return x.astype(np.float32).astype(np.float64), y


def fitted(name: str, classes: int) -> Trees:
    if name == "exponential boosting" and classes > 2:
        pytest.skip("exponential loss is for two classes")
    return Trees(MODELS[name]().fit(*data(classes)))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beside_every_threshold_the_reading_answers_as_the_model(name: str, classes: int, dtype: torch.dtype) -> None:
    target = fitted(name, classes)
    forest, x = target.forest, torch.from_numpy(data(classes)[0]).to(dtype)
    ends = forest.leaves(dtype).lo
    points = [x]
    for leaf, feature in torch.isfinite(ends).nonzero()[:: max(len(ends) // 60, 1)].tolist():
        at = ends[leaf, feature].to(dtype)
        for value in (at, torch.nextafter(at, at - 1), torch.nextafter(at, at + 1)):
            moved = x[leaf % len(x)].clone()
            moved[feature] = value
            points.append(moved[None])
    x = torch.cat(points)
    score, told = forest.scores(x), target.scores(x)
    top = score.topk(2, dim=1).values
    clear = top[:, 0] - top[:, 1] > forest.slack
    assert clear.double().mean() > 0.5
    assert torch.equal(score.argmax(1)[clear], target.labels(x)[clear])
    assert torch.equal(told.argmax(1)[clear], score.argmax(1)[clear])
    leaves, at = forest.leaves(dtype), forest.apply(x)
    assert ((leaves.lo[at] <= x.double()[:, None]) & (x.double()[:, None] <= leaves.hi[at])).all(), "an input lies in its leaves' boxes"


@pytest.mark.parametrize("name", ["tree", "histogram boosting", "xgboost", "lightgbm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_of_a_box_fall_in_its_leaf_and_what_lies_beyond_does_not(name: str, dtype: torch.dtype) -> None:
    forest = fitted(name, 2).forest
    leaves, x = forest.leaves(dtype), torch.from_numpy(data(2)[0]).to(dtype)
    at, first = forest.apply(x), int((leaves.tree == 0).sum())
    for leaf in range(min(first, 12)):
        inside = x[(at[:, 0] == leaf).nonzero()[:1, 0]]
        for side, ends in ((-1, leaves.lo[leaf]), (1, leaves.hi[leaf])):
            for feature in torch.isfinite(ends).nonzero()[:, 0].tolist():
                if not len(inside):
                    continue
                moved = inside.clone()
                moved[0, feature] = ends[feature].to(dtype)
                assert forest.apply(moved)[0, 0] == leaf
                moved[0, feature] = torch.nextafter(moved[0, feature], moved[0, feature] + side)
                assert forest.apply(moved)[0, 0] != leaf


def test_early_stopping_and_other_settings_of_boosters_are_read_right() -> None:
    x, y = data(2)
    early = _xgboost(n_estimators=40, early_stopping_rounds=2, num_parallel_tree=2, subsample=0.5)
    assert len(Trees(early.fit(x[:100], y[:100], eval_set=[(x[100:], y[100:])], verbose=False)).forest) < 80
    for model in (_xgboost(n_estimators=4, grow_policy="lossguide", max_leaves=5), _lightgbm(n_estimators=4, boosting_type="dart")):
        Trees(model.fit(x, y))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (LogisticRegression, "no trees can be read out of it"),
        (AdaBoostClassifier, "no trees can be read out of it"),
        (lambda: make_pipeline(StandardScaler(), DecisionTreeClassifier()), "not a pipeline"),
        (lambda: HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]), "splits by sets"),
        (lambda: _xgboost(n_estimators=3, booster="dart"), "only the sum of trees"),
        (lambda: _lightgbm(n_estimators=3, linear_tree=True), "linear_tree"),
        (lambda: _lightgbm(n_estimators=3, zero_as_missing=True), "zero_as_missing"),
    ],
)
def test_what_cannot_be_read_is_refused(make: Any, why: str) -> None:
    x, y = data(2)
    x[:, 0] = np.round(np.abs(x[:, 0]))
    with pytest.raises(BadTarget, match=why):
        Trees(make().fit(x, y))


def test_a_reading_that_differs_from_the_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = DecisionTreeClassifier(random_state=0).fit(*data(2))
    honest = model.predict_proba
    monkeypatch.setattr(model, "predict_proba", lambda x: honest(x)[:, ::-1])
    with pytest.raises(BadTarget, match="differs from the model's own answers"):
        Trees(model)


def test_access_is_an_insiders_and_can_be_taken_away() -> None:
    target = fitted("forest", 2)
    assert target.access is Access.GRADIENT
    assert restrict(target, "score").surrogate is None
    with pytest.raises(NotGranted):
        target.smooth(torch.zeros(1, 6))


def test_the_softened_forest_has_slopes_and_mostly_agrees() -> None:
    target = fitted("forest", 2)
    x = torch.from_numpy(data(2)[0]).float().requires_grad_()
    z = target.surrogate.smooth(x)
    slope = torch.autograd.grad(z[:, 0].sum(), x)[0]
    assert torch.isfinite(slope).all()
    assert (slope.abs().amax(1) > 0).all()
    assert (z.argmax(1) == target.labels(x.detach())).double().mean() > 0.9


def test_a_campaign_names_an_insiders_view_by_its_access(tmp_path: Any) -> None:
    (tmp_path / "m.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\nfrom sklearn.datasets import load_iris\n"
        "def build():\n    return DecisionTreeClassifier().fit(*load_iris(return_X_y=True))\n"
    )
    assert isinstance(load_target("m.py:build", base=tmp_path, access="gradient"), Trees)
    assert not isinstance(load_target("m.py:build", base=tmp_path), Trees)
