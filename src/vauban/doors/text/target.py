"""What is attacked, for texts: scores or labels for a list of strings; from a Python function or a scikit-learn pipeline."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from vauban.errors import BadTarget, NotGranted
from vauban.target.outputs import KINDS, checked_kind, recognise, tensor_of
from vauban.threat import Access

Objective = Callable[[Tensor], Tensor]
"""Scores (n, classes) to values (n,)."""


class TextTarget(ABC):
    """A classifier of texts under attack. Subclasses give `scores` (or `labels`), and `slope` and `embed` where they can be differentiated.

    Attributes:
        access: how much it shows: labels, scores or gradients.
        name: what the record calls it.
        kind: how it is run.
        outputs: what its raw outputs are, once known.
        classes: number of classes, where known before the first answer.
        reject: the column that means "no answer", if it has one.
    """

    access: Access = Access.SCORE
    name: str = "model"
    kind: ClassVar[str] = "text"
    outputs: str = "scores"
    classes: int | None = None
    reject: int | None = None

    @abstractmethod
    def scores(self, texts: Sequence[str]) -> Tensor:
        """Scores (n, classes) of n texts, without gradient; the predicted class has the highest."""

    def labels(self, texts: Sequence[str]) -> Tensor:
        """Predicted classes, int64 (n,)."""
        return self.scores(texts).argmax(1)

    def slope(self, texts: Sequence[str], objective: Objective) -> tuple[Tensor, list[Tensor]]:
        """Scores (n, classes), and for each text the gradient of its objective in its embedding (length, width)."""
        raise NotGranted(f"{self.name}: a {self.kind} target has no gradient; attack it with score or label access")

    def embed(self, texts: Sequence[str]) -> list[Tensor]:
        """The embedding (length, width) of each text, in which `slope` differentiates."""
        raise NotGranted(f"{self.name}: a {self.kind} target has no embedding; attack it with score or label access")

    def held(self) -> AbstractContextManager[None]:
        """Held while an attack runs: a model is frozen and in evaluation mode, and afterwards as it was."""
        return nullcontext()

    def sha256(self) -> str:
        """A fingerprint of the model; empty where there is none."""
        return ""

    def parameters_count(self) -> int | None:
        """How many parameters it has; None where unknown."""
        return None


class TextFunction(TextTarget):
    """Any function from a list of texts to class scores or to labels; an endpoint behind a function too.

    Args:
        f: takes a list of n strings; returns scores (n, classes), (n,) for one sigmoid output, or n integer labels with label access: numpy,
            torch or nested lists.
        access: "label" or "score".
        outputs: "logits", "probabilities", "log-probabilities", "sigmoid", "binary-logit", or "auto" to recognise them on the first texts.
        classes: number of classes, for label access.
        reject: the class that means "no answer".
        name: what the record calls it; by default the function's own name.

    Raises:
        BadTarget: the answers are no class scores or labels, or there is not one for each text.

    >>> target = TextFunction(lambda texts: [[0.0, float("!" in t)] for t in texts], outputs="logits")
    >>> target.labels(["Hello", "Buy now!"]).tolist()
    [0, 1]
    """

    kind: ClassVar[str] = "text-function"

    def __init__(
        self,
        f: Callable[[list[str]], Any],
        *,
        access: str | Access = "score",
        outputs: str = "auto",
        classes: int | None = None,
        reject: int | None = None,
        name: str = "",
    ) -> None:
        self.name = name or getattr(f, "__name__", type(f).__name__)
        self.access = Access.parse(access)
        if self.access not in (Access.LABEL, Access.SCORE):
            raise BadTarget(
                f"{self.name}: a function of texts shows 'label' or 'score'; limit the threat, or give a TextTorch for gradients"
            )
        self.outputs = checked_kind(outputs, self.name) if self.access is Access.SCORE else "labels"
        self.f, self.classes, self.reject = f, classes, reject

    def scores(self, texts: Sequence[str]) -> Tensor:
        if self.access < Access.SCORE:
            raise NotGranted(f"{self.name}: the function only answers labels; for scores give access='score'")
        z = tensor_of(self._answers(texts), self.name)
        if self.outputs == "auto":
            self.outputs = recognise(z, self.name)
        return KINDS[self.outputs](z if z.dtype == torch.float64 else z.float())

    def labels(self, texts: Sequence[str]) -> Tensor:
        if self.access >= Access.SCORE:
            return self.scores(texts).argmax(1)
        found = self._answers(texts)
        if found.ndim != 1 or found.is_floating_point():
            raise BadTarget(
                f"{self.name}: answered {found.dtype} of shape {tuple(found.shape)} for {len(texts)} texts; return one class for each"
            )
        return found.to("cpu", torch.int64)

    def _answers(self, texts: Sequence[str]) -> Tensor:
        raw = self.f(list(texts))
        found = raw.detach().cpu() if isinstance(raw, Tensor) else _numbers(raw, self.name)
        if found.ndim == 0 or len(found) != len(texts):
            raise BadTarget(f"{self.name}: {len(texts)} texts gave outputs of shape {tuple(found.shape)}; answer each text once")
        return found


class TextPipeline(TextFunction):
    """A scikit-learn pipeline that takes texts: probabilities where it has them, then its decision function, then labels.

    Args:
        pipeline: a fitted estimator whose first step takes strings, such as `make_pipeline(CountVectorizer(), LogisticRegression())`. Its classes
            are numbered in the order of `classes_`.
        name: what the record calls it.

    Raises:
        BadTarget: it is not fitted, or is no classifier.
    """

    kind: ClassVar[str] = "text-sklearn"

    def __init__(self, pipeline: Any, *, name: str = "") -> None:
        known = getattr(pipeline, "classes_", None)
        if known is None:
            raise BadTarget(f"{type(pipeline).__name__} is no fitted classifier; fit it before it is audited")
        self.pipeline, self._order = pipeline, np.asarray(known)
        method = next((m for m in ("predict_proba", "decision_function", "predict") if hasattr(pipeline, m)), "predict")
        two = len(self._order) == 2
        outputs = {"predict_proba": "probabilities", "decision_function": "binary-logit" if two else "logits"}.get(method, "auto")
        access = "label" if method == "predict" else "score"
        super().__init__(
            self._labels if method == "predict" else getattr(pipeline, method), access=access, outputs=outputs, classes=len(self._order),
            name=name or _named(pipeline),
        )  # fmt: skip

    def _labels(self, texts: list[str]) -> Any:
        return np.searchsorted(self._order, self.pipeline.predict(texts))

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for step in [self.pipeline, *(s for _, s in getattr(self.pipeline, "steps", []))]:
            for key, value in sorted(vars(step).items()):
                if isinstance(value, np.ndarray) and value.dtype != object:
                    digest.update(key.encode() + np.ascontiguousarray(value).tobytes())
            digest.update(repr(sorted(getattr(step, "vocabulary_", None) or {})).encode())
        return digest.hexdigest()


def _named(pipeline: Any) -> str:
    steps = getattr(pipeline, "steps", None)
    return " + ".join(type(s).__name__ for _, s in steps) if steps else type(pipeline).__name__


def _numbers(raw: Any, who: str) -> Tensor:
    found = np.asarray(raw)
    if found.dtype.kind not in "fiub":
        raise BadTarget(f"{who}: returns {type(raw).__name__} of {found.dtype}; return numbers: class scores or labels")
    return torch.from_numpy(np.ascontiguousarray(found))


def as_text_target(target: object) -> TextTarget:
    """A target as it is; a scikit-learn pipeline or a function of a list of texts as one.

    Raises:
        BadTarget: it is none of these; a torch module needs to know how texts are encoded.
    """
    if isinstance(target, TextTarget):
        return target
    if isinstance(target, nn.Module):
        raise BadTarget(f"{type(target).__name__} is a torch module and takes no strings; wrap it: TextTorch(model, encode)")
    if hasattr(target, "predict") and not isinstance(target, type):
        return TextPipeline(target)
    if callable(target) and not isinstance(target, type):
        return TextFunction(cast("Callable[[list[str]], Any]", target))
    raise BadTarget(
        f"the target is {type(target).__name__}; give a function of a list of texts, a scikit-learn pipeline, a TextTorch, or a TextTarget"
    )
