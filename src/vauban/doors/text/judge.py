"""The referee of texts: clean answers, scores of candidates, and the verification of what is to be kept. The attacker cannot reach it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from vauban.doors.oracle import Aim
from vauban.doors.oracle.entry import Answers, clean_answers
from vauban.doors.oracle.passes import Chunks
from vauban.doors.text.row import Ask
from vauban.doors.text.ruler import Ruler
from vauban.doors.text.target import TextTarget
from vauban.errors import BadData, BadTarget
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Access

AT_ONCE = 512
"""Candidates that are embedded together."""


class _Shelf(Target):
    """Texts as numbers: input i stands for the i-th text, so that clean answers are asked and checked as those of any target."""

    kind: ClassVar[str] = "text"

    def __init__(self, target: TextTarget, texts: Sequence[str]) -> None:
        self.target, self.texts = target, texts
        self.name, self.access, self.reject, self.classes = target.name, target.access, target.reject, target.classes

    def _named(self, x: Tensor) -> list[str]:
        places: list[int] = x.tolist()
        return [self.texts[i] for i in places]

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.scores(self._named(x))

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.target.labels(self._named(x))


class TextReferee:
    """Judges answers of one text target, and charges nobody.

    Raises:
        BadTarget: one class or none, class counts that change, scores of clean texts that are mostly not finite.
        BadData: a label that the target has no class for.
    """

    def __init__(self, target: TextTarget, texts: Sequence[str], y: Tensor, max_rows: int) -> None:
        self.target, self.chunks = target, Chunks(max_rows)
        numbers = torch.arange(len(texts))
        self.clean: Answers = clean_answers(_Shelf(target, texts), numbers, y, self.chunks, RowNoise(numbers), judging=True)
        self.classes = self.clean.classes

    def scores(self, texts: Sequence[str]) -> Tensor:
        """Scores (m, classes); of a target that only shows labels, 1 for the label and 0 elsewhere."""
        return self.chunks.whole(len(texts), lambda s: (self._part(texts[s]),))[0]

    def _part(self, texts: Sequence[str]) -> Tensor:
        if self.target.access >= Access.SCORE:
            return self._checked(self.target.scores(texts), len(texts))
        labels = self.target.labels(texts)
        if bool(((labels < 0) | (labels >= self.classes)).any()):
            raise BadTarget(f"{self.target.name}: answered class {int(labels.max())}; the labels are 0 to {self.classes - 1}")
        return torch.nn.functional.one_hot(labels, self.classes).to(torch.float32)

    def _checked(self, z: Tensor, rows: int) -> Tensor:
        if z.shape != (rows, self.classes):
            raise BadTarget(
                f"{self.target.name}: {self.classes} classes at first, and now outputs of shape {tuple(z.shape)} for {rows} texts"
            )
        return z

    def slopes(self, asks: Sequence[Ask], aim: Aim) -> tuple[Tensor, list[list[float]]]:
        """Scores (m, classes) of the only candidate of each ask, and the first-order gains of the texts around it."""
        loss = asks[0].loss
        z, gradients = self.target.slope([a.texts[0] for a in asks], lambda z: loss(aim, z.to(aim.y.device)))
        return self._checked(z, len(asks)), [self._gains(a, g) for a, g in zip(asks, gradients, strict=True)]

    def _gains(self, ask: Ask, gradient: Tensor) -> list[float]:
        """The gradient times the change of the embedding, where both have a place."""
        here = self.target.embed(ask.texts)[0]
        around = ask.around or ()
        gains: list[float] = []
        for first in range(0, len(around), AT_ONCE):
            for there in self.target.embed(around[first : first + AT_ONCE]):
                size = min(len(here), len(there), len(gradient))
                gains.append(float(((there[:size] - here[:size]) * gradient[:size]).sum()))
        return gains

    def again(self, text: str, aim: Aim) -> bool:
        """Whether a text meets the goal when it is asked alone, by itself."""
        z = self.scores([text])
        return bool((aim.margin(z) > 0) & torch.isfinite(z).all())


def checked_texts(texts: Sequence[str], labels: Sequence[int] | Tensor) -> tuple[tuple[str, ...], Tensor]:
    """The texts and their classes, int64.

    Raises:
        BadData: none, different lengths, something that is no text, an empty one, or labels that are no whole numbers.
    """
    if isinstance(texts, str):
        raise BadData("texts must be a list of strings, and this is a single one")
    y = torch.as_tensor(labels)
    if len(texts) == 0 or y.ndim != 1 or len(texts) != len(y):
        raise BadData(f"{len(texts)} texts and {len(y) if y.ndim else 1} labels; there must be as many of both, and at least one")
    if y.is_floating_point():
        raise BadData(f"labels must be whole numbers, one for each text; these are {y.dtype}")
    for row, text in enumerate(texts):
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # a person may pass anything
            raise BadData(f"row {row} is {type(text).__name__} and no text; give strings")
        if not text.strip():
            raise BadData(f"row {row}: the text is empty; remove it")
    return tuple(texts), y.to("cpu", torch.int64)


def check_editable(ruler: Ruler, row: int) -> None:
    """Whether there is anything to edit.

    Raises:
        BadData: a text without letters or digits, or all of them protected.
    """
    letters = [i for i, c in enumerate(ruler.clean) if c.isalnum()]
    if not letters:
        raise BadData(f"row {row}: {ruler.clean[:40]!r} has no letter to edit; remove it")
    if not any(ruler.free(i, i + 1) for i in letters):
        raise BadData(f"row {row}: every letter of {ruler.clean[:40]!r} is protected; remove it, or protect less")
