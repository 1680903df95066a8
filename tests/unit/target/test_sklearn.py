"""The scikit-learn target answers what the estimator itself answers, and refuses what is no classifier."""

import io
import sys
import types

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from vauban.errors import BadTarget, NotGranted
from vauban.target import Sklearn
from vauban.target.fingerprint import fingerprint
from vauban.threat import Access


def as_tensor(x: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(x, dtype=torch.float32)


def cloud(seed: int = 1, n: int = 500) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) * 2


ESTIMATORS = [
    LogisticRegression(),
    make_pipeline(StandardScaler(), LogisticRegression()),
    RandomForestClassifier(7, random_state=0),
    KNeighborsClassifier(4),
    LinearSVC(),
    SVC(),
    SVC(decision_function_shape="ovo"),
    SGDClassifier(loss="modified_huber", random_state=0),
    RidgeClassifier(),
    MLPClassifier((5,), max_iter=20, random_state=0),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.filterwarnings("ignore")
def test_the_highest_score_and_the_label_are_what_the_estimator_predicts(estimator, blobs):
    x, y = blobs
    target = Sklearn(estimator.fit(x, np.array(["a", "b", "c"])[y]))
    points = cloud()
    truth = np.searchsorted(["a", "b", "c"], estimator.predict(points.numpy().astype(np.float64)))
    assert torch.equal(target.labels(points), torch.from_numpy(truth))
    assert torch.equal(target.scores(points).argmax(1), torch.from_numpy(truth))
    assert target.classes == 3 and target.classes_.tolist() == ["a", "b", "c"] and target.access == Access.SCORE


def test_scores_are_the_log_of_the_probabilities_clamped(blobs):
    x, y = blobs
    estimator = LogisticRegression(C=1e6, max_iter=1000).fit(x, y)
    far = as_tensor(x * 1e4)
    z = Sklearn(estimator).scores(far)
    truth = np.log(np.maximum(estimator.predict_proba(far.numpy().astype(np.float64)), np.finfo(np.float32).tiny))
    np.testing.assert_allclose(z.numpy(), truth, rtol=1e-12)
    assert bool(torch.isfinite(z).all()) and z.device.type == "cpu"


def test_a_binary_decision_function_becomes_two_columns(blobs):
    x, y = blobs
    estimator = LinearSVC().fit(x[:40], y[:40])
    z = Sklearn(estimator).scores(cloud())
    assert z.shape == (500, 2) and not z[:, 0].any()
    np.testing.assert_allclose(z[:, 1].numpy(), estimator.decision_function(cloud().numpy().astype(np.float64)))


def test_a_decision_threshold_decides_and_not_the_larger_probability(blobs):
    x, y = blobs
    inner = LogisticRegression().fit(x[:40], y[:40])
    points = cloud()
    target = Sklearn(FixedThresholdClassifier(inner, threshold=0.9).fit(x[:40], y[:40]))
    truth = torch.from_numpy(target.estimator.predict(points.numpy().astype(np.float64)))
    plain = torch.from_numpy(inner.predict_proba(points.numpy())).argmax(1)
    assert not torch.equal(truth, plain)
    assert torch.equal(target.scores(points).argmax(1), truth)
    top = target.scores(points).topk(2, 1).values
    assert bool((top[:, 0] > top[:, 1]).all())


def test_an_estimator_with_predict_alone_shows_labels_only(blobs):
    class Rule(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            self.classes_ = np.array([10, 7])  # in no order
            return self

        def predict(self, x):
            return np.where(x[:, 0] > 0, 10, 7)

    target = Sklearn(Rule().fit(*blobs))
    assert target.access == Access.LABEL and target.classes == 2
    assert target.labels(torch.tensor([[1.0], [-1.0]])).tolist() == [0, 1]
    with pytest.raises(NotGranted, match="neither predict_proba nor decision_function; it only shows labels"):
        target.scores(torch.zeros(1, 4))
    target.prepare(cloud())


def test_inputs_with_several_dimensions_are_flattened(blobs):
    x, y = blobs
    target = Sklearn(LogisticRegression().fit(x, y))
    points = cloud()
    assert torch.equal(target.scores(points.view(-1, 1, 2, 2)), target.scores(points))
    with pytest.raises(BadTarget, match=r"fitted on 4 features, and the inputs of shape \(5,\) have 5"):
        target.scores(torch.zeros(2, 5))


def test_an_estimator_fitted_on_named_columns_gets_a_frame(monkeypatch):
    class Frame:
        def __init__(self, x, columns):
            self.x, self.columns = x, columns

    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=Frame))
    picks = types.SimpleNamespace(
        predict=lambda f: f.x[:, f.columns.index("b")] > 0, classes_=np.array([False, True]), feature_names_in_=np.array(["a", "b"])
    )
    assert Sklearn(picks).labels(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1, 0]


def test_the_answer_to_a_row_does_not_depend_on_its_batch(blobs):
    target = Sklearn(RandomForestClassifier(5, random_state=0).fit(*blobs))
    points = cloud(n=20)
    assert torch.equal(target.scores(points), torch.cat([target.scores(p[None]) for p in points]))


def y_multi(y):
    return np.stack([y == 0, y == 1], 1).astype(int)


REFUSED = [
    (lambda x, y: LinearRegression().fit(x, y), "is a regressor"),
    (lambda x, y: KMeans(2, n_init=1).fit(x), "is a clusterer"),
    (lambda x, y: IsolationForest(n_estimators=5).fit(x), "is an outlier detector"),
    (lambda x, y: LogisticRegression(), "is not fitted; call fit on it first"),
    (lambda x, y: make_pipeline(StandardScaler(), LogisticRegression()), "is not fitted"),
    (lambda x, y: OneVsRestClassifier(LogisticRegression()).fit(x, y_multi(y)), "multi-label or multi-output"),
    (lambda x, y: RandomForestClassifier(3).fit(x, np.stack([y, y], 1)), "multi-label or multi-output"),
    (lambda x, y: LogisticRegression, "needs a fitted classifier with a predict method and got LogisticRegression"),
    (lambda x, y: 7, "needs a fitted classifier with a predict method and got int"),
    (lambda x, y: types.SimpleNamespace(predict=len), "has no classes_"),
    (lambda x, y: KNeighborsClassifier().fit(x, y * 0), "knows a single class"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_what_is_no_classifier_is_refused_in_one_sentence(make, sentence, blobs):
    with pytest.raises(BadTarget, match=sentence):
        Sklearn(make(*blobs))


@pytest.mark.filterwarnings("ignore")
def test_a_multi_label_network_is_refused_on_the_first_inputs(blobs):
    x, y = blobs
    target = Sklearn(MLPClassifier((3,), max_iter=5, random_state=0).fit(x, y_multi(y)))
    with pytest.raises(BadTarget, match="as multi-label and multi-output estimators do"):
        target.prepare(cloud())


def test_scores_that_are_not_one_a_class_are_refused():
    odd = types.SimpleNamespace(
        predict=lambda x: np.zeros(len(x), int), decision_function=lambda x: np.zeros((len(x), 6)), classes_=np.arange(4)
    )
    with pytest.raises(BadTarget, match=r"decision_function gives shape \(2, 6\) for 4 classes"):
        Sklearn(odd, name="odd").scores(torch.zeros(2, 3))
    loose = types.SimpleNamespace(
        predict=lambda x: np.zeros(len(x), int), predict_proba=lambda x: np.full((len(x), 4), 0.9), classes_=np.arange(4)
    )
    with pytest.raises(BadTarget, match="do not sum to 1"):
        Sklearn(loose).scores(torch.zeros(2, 3))
    stray = types.SimpleNamespace(predict=lambda x: np.full(len(x), 9), classes_=np.arange(4))
    with pytest.raises(BadTarget, match="a label that is not in classes_"):
        Sklearn(stray).labels(torch.zeros(2, 3))


def test_a_failing_estimator_is_named_with_its_reason():
    class Picky:
        classes_ = np.arange(2)

        def predict(self, x):
            raise ValueError("wants tea\nand more")

    with pytest.raises(BadTarget, match=r"Picky: predict refused inputs of shape \(2, 3\): wants tea$"):
        Sklearn(Picky()).labels(torch.zeros(2, 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomForestClassifier(3, random_state=0),
        lambda: HistGradientBoostingClassifier(max_iter=3, random_state=0),
        lambda: make_pipeline(StandardScaler(), SVC()),
        lambda: MLPClassifier((3,), max_iter=3, random_state=0),
    ],
)
def test_the_fingerprint_survives_a_file_and_a_refit_and_use_and_changes_with_the_model(make, blobs):
    first, again = make().fit(*blobs), make().fit(*blobs)
    file = io.BytesIO()
    joblib.dump(first, file)
    file.seek(0)
    before = Sklearn(first).sha256()
    first.predict(blobs[0])
    assert len(before) == 64
    assert {before, Sklearn(first).sha256(), Sklearn(again).sha256(), Sklearn(joblib.load(file)).sha256()} == {before}
    assert Sklearn(make().fit(blobs[0] * 1.01, blobs[1])).sha256() != before


def test_the_fingerprint_tells_structures_apart_and_ends_on_a_loop():
    loop: list[object] = []
    loop.append(loop)
    values = [
        1,
        1.0,
        "1",
        [1],
        (1,),
        {1: 2},
        {2: 1},
        {1, 2},
        None,
        np.ones(2),
        np.ones(2, np.float32),
        np.array([1, "a"], dtype=object),
        len,
        loop,
    ]
    assert len({fingerprint(v) for v in values}) == len(values)
