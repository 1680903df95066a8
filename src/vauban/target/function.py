"""A Python function as a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vauban.errors import BadTarget, NotGranted
from vauban.noise import RowNoise
from vauban.target.base import Target
from vauban.target.outputs import KINDS, checked_kind, recognise, tensor_of
from vauban.threat import Access


class Function(Target):
    """Any function from a batch of inputs to class scores or to labels.

    Args:
        f: takes (n, *shape), float32, as a numpy array (a torch tensor with `as_numpy=False`); returns scores (n, classes), (n,) for one
            sigmoid output, or integer labels (n,) with label access: numpy, torch, or nested lists.
        access: "label" or "score"; "gradient" for a differentiable function of torch tensors.
        outputs: "logits", "probabilities", "log-probabilities", "sigmoid", "binary-logit", or "auto" to recognise them on clean inputs.
        classes: number of classes, for label access; by default the largest label on clean inputs and those below it.
        reject: the class that means "no answer".
        randomised: f draws noise of its own and takes it from its second argument, the `vauban.noise.RowNoise` of the rows.
        name: what the record calls it; by default the function's own name.

    Raises:
        BadTarget: the answers are no class scores or labels, or the number of classes changes.

    >>> target = Function(lambda x: x @ np.ones((4, 3), dtype=np.float32), outputs="logits")
    >>> target.scores(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    kind: ClassVar[str] = "function"

    def __init__(
        self,
        f: Callable[..., Any],
        *,
        access: str | Access = "score",
        outputs: str = "auto",
        classes: int | None = None,
        reject: int | None = None,
        randomised: bool = False,
        as_numpy: bool = True,
        name: str = "",
    ) -> None:
        if not callable(f):
            raise BadTarget(f"Function needs a function from a batch to scores or labels and got {type(f).__name__}")
        self.name = name or getattr(f, "__name__", type(f).__name__)
        self.access = Access.parse(access)
        if self.access == Access.NONE:
            raise BadTarget(f"{self.name}: a target must answer, to be judged: access = 'label' or more; limit the threat instead")
        if self.access == Access.GRADIENT and as_numpy:
            raise BadTarget(f"{self.name}: a function of numpy arrays has no gradient; take torch tensors with as_numpy=False")
        if classes is not None and classes < 2:
            raise BadTarget(f"{self.name}: classes = {classes} must be at least 2")
        self.f, self.classes, self.reject, self.randomised, self._as_numpy = f, classes, reject, randomised, as_numpy
        self.outputs = checked_kind(outputs, self.name) if self.access >= Access.SCORE else "labels"

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access < Access.SCORE:
            raise NotGranted(f"{self.name}: the function only answers labels; for scores give access='score'")
        with torch.no_grad():
            return self._scored(self._answer(x, draw)).cpu()

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self._scored(self._answer(x, draw)) if self.access >= Access.GRADIENT else super().smooth(x, draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access >= Access.SCORE:
            return self.scores(x, draw).argmax(1)
        found = self._answer(x, draw)
        if found.shape != (len(x),) or found.is_floating_point() or found.is_complex():
            raise BadTarget(
                f"{self.name}: answered {str(found.dtype).removeprefix('torch.')} of shape {tuple(found.shape)} for {len(x)} inputs; "
                "with label access return one integer class for each"
            )
        labels = found.to("cpu", torch.int64)
        for bad in labels[labels < 0].tolist():
            raise BadTarget(f"{self.name}: answered class {bad}; classes count from 0")
        for bad in [] if self.classes is None else labels[labels >= self.classes].tolist():
            raise BadTarget(f"{self.name}: answered class {bad}; say how many there are with classes=, now {self.classes}")
        return labels

    def prepare(self, x: Tensor) -> None:
        labels = self.labels(x)
        if self.classes is None:
            self.classes = max(int(labels.max()) + 1, 2)

    def _answer(self, x: Tensor, draw: RowNoise | None) -> Tensor:
        given = x.detach().cpu().numpy() if self._as_numpy else x
        noise = [RowNoise(torch.arange(len(x))) if draw is None else draw] if self.randomised else []
        raw = self.f(given, *noise)
        if isinstance(raw, Tensor):
            return raw
        found = np.asarray(raw)
        if found.dtype.kind not in "fiub":
            raise BadTarget(f"{self.name}: returns {type(raw).__name__} of {found.dtype}; return numbers: class scores or labels")
        return torch.from_numpy(np.ascontiguousarray(found))

    def _scored(self, raw: Tensor) -> Tensor:
        z = tensor_of(raw, self.name)
        if self.outputs == "auto":
            self.outputs = recognise(z, self.name)
        scores = KINDS[self.outputs](z if z.dtype == torch.float64 else z.float())
        if self.classes is not None and scores.shape[1] != self.classes:
            raise BadTarget(f"{self.name}: {self.classes} classes at first, and now {scores.shape[1]}; give one column for each class")
        self.classes = scores.shape[1]
        return scores
