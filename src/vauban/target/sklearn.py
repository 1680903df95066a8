"""A scikit-learn classifier or pipeline as a target."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from vauban.errors import BadTarget, Missing, NotGranted
from vauban.noise import RowNoise
from vauban.target.base import Target
from vauban.target.fingerprint import fingerprint
from vauban.target.outputs import KINDS
from vauban.threat import Access

Array = np.ndarray[Any, Any]

LARGEST_WINS = frozenset(
    f"{name}Classifier" for name in ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees", "HistGradientBoosting", "MLP")
) | {"LogisticRegression", "GaussianNB"}
"""Estimators whose own prediction is, by their code, the class of the largest score; all others are asked for both."""


class Sklearn(Target):
    """A fitted scikit-learn classifier, or anything that behaves like one.

    Scores are the logarithm of `predict_proba`, or else `decision_function` (a binary one as the pair (0, z)); an estimator that only has
    `predict` shows labels. What the estimator itself predicts is what counts: where its highest score is another class (decision
    thresholds, tied votes of one-against-one machines), the predicted class is raised just above it.

    Args:
        estimator: fitted, with one class for each input.
        name: what the record calls it; by default the type of its last step.

    Attributes:
        classes_: the estimator's own class labels, in the order of the indices 0..K-1 that this target answers with.

    Raises:
        BadTarget: a regressor, a clusterer, an outlier detector, a multi-label or multi-output or unfitted estimator, no estimator at all.
        Missing: scikit-learn is not installed.
    """

    kind: ClassVar[str] = "sklearn"

    def __init__(self, estimator: object, *, name: str = "") -> None:
        self.estimator = cast("Any", estimator)
        self.name = name or type(_last(estimator)).__name__
        self.classes_ = _classes_of(estimator, self.name)
        self.classes = len(self.classes_)
        self._scorer = next((m for m in ("predict_proba", "decision_function") if hasattr(estimator, m)), None)
        self.access = Access.LABEL if self._scorer is None else Access.SCORE
        self.outputs = {"predict_proba": "probabilities", "decision_function": "logits"}.get(self._scorer or "", "labels")
        decides = type(_last(estimator))
        self._asks_both = decides.__name__ not in LARGEST_WINS or not decides.__module__.startswith("sklearn.")
        order = np.argsort(self.classes_)
        self._sorted, self._order = self.classes_[order], torch.from_numpy(order)

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Scores (n, classes), float64 as the estimator computes them: in float32 close probabilities would tie."""
        if self._scorer is None:
            raise NotGranted(f"{self.name}: the estimator has neither predict_proba nor decision_function; it only shows labels")
        features = self._features(x)
        raw = self._ask(self._scorer, features)
        if self._scorer == "predict_proba":
            z = KINDS["probabilities"](self._columns(raw))
            if not bool(((z.exp().sum(1) - 1).abs() < 1e-3).all()):
                raise BadTarget(f"{self.name}: {self._multi('the probabilities of an input do not sum to 1')}")
        else:
            z = self._columns(KINDS["binary-logit"](torch.from_numpy(raw)).numpy() if raw.ndim == 1 else raw)
        return self._decided(z, self._labels(features)) if self._asks_both else z

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self._labels(self._features(x))

    def prepare(self, x: Tensor) -> None:
        self.labels(x)
        if self._scorer is not None:
            self.scores(x)

    def sha256(self) -> str:
        return fingerprint(self.estimator)

    @staticmethod
    def _decided(z: Tensor, labels: Tensor) -> Tensor:
        """Scores whose strictly highest is the label's, changed only in the rows where it was another's."""
        top = z.amax(1)
        other = z.argmax(1) != labels
        raised = z.scatter(1, labels[:, None], torch.nextafter(top, torch.full_like(top, torch.inf))[:, None])
        return torch.where(other[:, None], raised, z)

    def _labels(self, features: object) -> Tensor:
        answer = self._ask("predict", features)
        if answer.ndim != 1:
            raise BadTarget(f"{self.name}: {self._multi(f'predict returns shape {answer.shape}')}")
        place = np.searchsorted(self._sorted, answer).clip(max=len(self._sorted) - 1)
        if not bool((self._sorted[place] == answer).all()):
            raise BadTarget(f"{self.name}: predict returned a label that is not in classes_; the estimator is inconsistent, fit it again")
        return self._order[torch.from_numpy(place)]

    @staticmethod
    def _multi(sign: str) -> str:
        return f"{sign}, as multi-label and multi-output estimators do; Vauban attacks models with one class for each input"

    def _columns(self, raw: Array) -> Tensor:
        if raw.ndim != 2 or raw.shape[1] != self.classes:
            raise BadTarget(
                f"{self.name}: {self._scorer} gives shape {raw.shape} for {self.classes} classes; it must give one column for each class "
                "(for one-against-one machines set decision_function_shape='ovr')"
            )
        return torch.from_numpy(raw)

    def _ask(self, method: str, features: object) -> Array:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*feature names.*")
                answer = getattr(self.estimator, method)(features)
        except (ValueError, TypeError) as error:
            why = (str(error).splitlines() or [""])[0]
            raise BadTarget(f"{self.name}: {method} refused inputs of shape {tuple(np.shape(cast('Any', features)))}: {why}") from error
        if isinstance(answer, list):
            raise BadTarget(f"{self.name}: {self._multi(f'{method} returns a list')}")
        found = np.asarray(answer)
        return found.astype(np.float64) if method != "predict" else found

    def _features(self, x: Tensor) -> object:
        """What the estimator is given: float64 (its own precision), flat if it was fitted on flat inputs, named if on named columns."""
        features = x.detach().cpu().numpy().astype(np.float64)
        wants = getattr(self.estimator, "n_features_in_", None)
        size = int(np.prod(features.shape[1:]))
        if wants is not None and size != wants:
            raise BadTarget(f"{self.name}: fitted on {wants} features, and the inputs of shape {features.shape[1:]} have {size}")
        if wants is not None:
            features = features.reshape(len(features), -1)
        names = getattr(self.estimator, "feature_names_in_", None)
        return features if names is None else _frame(features, list(names))


def _frame(features: Array, names: list[str]) -> object:
    """A pandas frame for an estimator that was fitted on one and may pick columns by name; the bare array where pandas is not installed."""
    from importlib import import_module

    try:
        pandas = import_module("pandas")
    except ImportError:
        return features
    return pandas.DataFrame(features, columns=names)


def _last(estimator: object) -> object:
    """The step of a pipeline that decides."""
    steps = getattr(estimator, "steps", None)
    return _last(steps[-1][1]) if isinstance(steps, list) and steps else estimator


def _classes_of(estimator: object, name: str) -> Array:
    try:
        from sklearn import base
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted
    except ImportError as error:
        raise Missing("scikit-learn is not installed; pip install 'vauban[sklearn]'") from error
    if isinstance(estimator, type) or not hasattr(estimator, "predict"):
        what = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
        raise BadTarget(f"Sklearn needs a fitted classifier with a predict method and got {what}")
    tests = {"a regressor": base.is_regressor, "a clusterer": base.is_clusterer, "an outlier detector": base.is_outlier_detector}
    if isinstance(estimator, base.BaseEstimator):
        for what, test in tests.items():
            if test(estimator):
                raise BadTarget(f"{name} is {what}; Vauban attacks classifiers")
        try:
            check_is_fitted(estimator)
        except NotFittedError as error:
            raise BadTarget(f"{name} is not fitted; call fit on it first") from error
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise BadTarget(f"{name} has no classes_; Vauban attacks classifiers that name their classes there once fitted")
    if bool(getattr(estimator, "multilabel_", False)) or isinstance(classes, list) or np.ndim(classes) != 1:
        raise BadTarget(f"{name} is multi-label or multi-output; Vauban attacks models with one class for each input")
    if len(classes) < 2:
        raise BadTarget(f"{name} knows a single class, {classes[0]!r}; a classifier needs two")
    return np.asarray(classes)
