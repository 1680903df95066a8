"""What is attacked: scores or labels for a batch of inputs, and how much of itself it shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from vauban.errors import NotGranted
from vauban.noise import RowNoise
from vauban.threat import Access


class Surrogate(ABC):
    """What an attack takes its gradients from: by default the target itself.

    Attributes:
        access: what of the target an attacker must hold to have it: none for a model of its own.
        passes: forward passes of a model that one gradient costs.
        asked: questions that the target answered so that an attacker could have it, once it is `ready`; shared by all rows.
        rough: by how much its scores may differ from the target's own, as a share of their span; 0 when it is not the target in lower precision.
    """

    access: Access = Access.NONE
    passes: int = 1
    asked: int = 0
    rough: float = 0.0

    def ready(self) -> None:  # noqa: B027  # most are
        """Make it, if that is still to be done: a campaign does this before it asks the target anything else."""

    @abstractmethod
    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Scores (n, classes) that can be differentiated in x, higher meaning likelier. `draw` is the rows' noise, for what is random."""

    def held(self) -> AbstractContextManager[None]:
        """Held while an attack runs: a model is frozen and in evaluation mode, and afterwards as it was."""
        return nullcontext()


@contextmanager
def held_all(members: Iterable[Surrogate]) -> Generator[None]:
    """Several surrogates held at once."""
    with ExitStack() as stack:
        for member in members:
            stack.enter_context(member.held())
        yield


class Target(Surrogate):
    """A classifier under attack. Subclasses give `scores` (or `labels`), and `smooth` where it can be differentiated.

    Attributes:
        access: how much it shows: labels, scores or gradients.
        name: what the record calls it.
        kind: how it is run ("torch", "onnx", ...).
        outputs: what its raw outputs are, once known ("logits", "probabilities", ...).
        reject: the column that means "no answer", if it has one; an answer there is neither correct nor, by default, a success.
        randomised: whether it draws noise of its own for each question; then it must take it from `draw`.
        refuses: whether a question may stay unanswered (an endpoint that blocks or fails): then a row of NaN scores, or the label -1, says so.
        metered: whether each question costs its owner something (an endpoint): doubts are then looked for in what was asked anyway.
        device: where the inputs must lie.
        layout: the memory format in which it takes images fastest.
        classes: number of classes, where known before the first answer.
    """

    access: Access = Access.SCORE
    name: str = "model"
    kind: ClassVar[str] = "target"
    outputs: str = "scores"
    reject: int | None = None
    randomised: bool = False
    refuses: bool = False
    metered: bool = False
    device: torch.device = torch.device("cpu")
    layout: torch.memory_format = torch.contiguous_format
    classes: int | None = None

    @property
    def surrogate(self) -> Surrogate | None:
        """What an attacker that holds the target should take gradients from, or None when the target itself is differentiable or there is none.

        A defended target overrides this with the best known stand-in, so that no attack forgets it.
        """
        return None

    @property
    def ways(self) -> tuple[Surrogate, ...]:
        """Other ways to take gradients of it that an attacker who knows how it is made would try: the members of an ensemble, another stand-in."""
        return ()

    @abstractmethod
    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Scores (n, classes) of inputs (n, *shape), without gradient; the predicted class has the highest."""

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Predicted classes, int64 (n,)."""
        return self.scores(x, draw).argmax(1)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        raise NotGranted(f"{self.name}: a {self.kind} target has no gradient; give a surrogate, or attack it with score or label access")

    def prepare(self, x: Tensor) -> None:
        """Look at clean inputs once before an attack: recognise what the outputs are, and refuse what is no classifier."""

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        """Inputs (n, *shape) as the model receives them: rounded, where something that rounds lies between (a picture of 8 bits, JPEG).

        The identity where nothing does. What has been through it once comes through unchanged, and `scores(x)` are those of `wire(x)`.

        Args:
            clean: the clean inputs, of the same shape: where there is a choice, values are rounded toward them, so that no change grows.
        """
        return x

    def sha256(self) -> str:
        """A fingerprint of the model's parameters or file; empty where there is none."""
        return ""

    def parameters_count(self) -> int | None:
        """How many parameters it has; None where unknown."""
        return None
