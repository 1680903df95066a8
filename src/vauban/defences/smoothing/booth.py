"""Where noisy copies of inputs are voted on: passes of one size, whoever's samples fill them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vauban.defences.smoothing.noises import Noise
from vauban.doors.oracle.passes import Chunks
from vauban.doors.oracle.room import usual_rows
from vauban.errors import BadData, BadTarget
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Access

CHUNK = 64
"""Samples of one row that are drawn at once, at most: fixed, so that a row's noise does not depend on who shares its passes."""


class Stream:
    """One row's noise, sample after sample: the same for a row whatever batch it travels in.

    Attributes:
        word: what makes it this row's, 64 random bits.
        generator: seeded by it.
        drawn: how many samples were taken.
    """

    __slots__ = ("drawn", "generator", "word")

    def __init__(self, word: int, device: torch.device) -> None:
        self.word, self.drawn = word, 0
        self.generator = torch.Generator(device).manual_seed(word)


def words_of(noise: RowNoise) -> list[int]:
    """64 random bits for each row, from which its stream begins."""
    return noise.fork("smoothing").bits(1)[:, 0].tolist()


@dataclass(frozen=True, eq=False)
class Ask:
    """Some samples of one row: the clean input x (*shape), its stream, and how many, at most `CHUNK`."""

    x: Tensor
    stream: Stream
    count: int


class Booth:
    """Counts votes.

    Args:
        target: what votes; its labels are enough.
        noise: what is added to the inputs.
        classes: how many classes it has.
        max_rows: samples in one pass; by default what is usual on the device.
    """

    def __init__(self, target: Target, noise: Noise, classes: int, max_rows: int | None = None) -> None:
        self.target, self.noise, self.classes = target, noise, classes
        self.room = max(max_rows or usual_rows(target.device), 1)
        self._chunks = Chunks(self.room)
        self._buffer = torch.empty(0)

    def streams(self, noise: RowNoise) -> list[Stream]:
        """A stream for each row of some noise, from its beginning."""
        return [Stream(word, self.target.device) for word in words_of(noise)]

    def vote(self, asks: Sequence[Ask]) -> list[list[int]]:
        """The votes of each ask: how many of its samples are answered with each class, and last with none."""
        total = sum(ask.count for ask in asks)
        batch = self._noisy(asks, total)
        draw = self._inner(asks) if self.target.randomised else None
        (labels,) = self._chunks.whole(total, lambda s: (self._labels(batch[s], None if draw is None else draw.take(_places(s, draw))),))
        width = self.classes + 1
        first = np.repeat(np.arange(0, len(asks) * width, width), [ask.count for ask in asks])
        return np.bincount(first + labels.numpy(), minlength=len(asks) * width).reshape(-1, width).tolist()

    def tally(self, x: Tensor, streams: Sequence[Stream], samples: int) -> Tensor:
        """The votes of `samples` copies of each row x (n, *shape), int64 (n, classes + 1) on the CPU, from passes that are full."""
        votes = torch.zeros(len(x), self.classes + 1, dtype=torch.int64)
        turn: list[Ask] = []
        places: list[int] = []
        for place, stream in enumerate(streams):
            for count in _chunks_of(samples):
                if turn and sum(ask.count for ask in turn) + count > self.room:
                    votes.index_add_(0, torch.tensor(places), torch.tensor(self.vote(turn)))
                    turn, places = [], []
                turn.append(Ask(x[place].to(self.target.device), stream, count))
                places.append(place)
        if turn:
            votes.index_add_(0, torch.tensor(places), torch.tensor(self.vote(turn)))
        return votes

    def _noisy(self, asks: Sequence[Ask], total: int) -> Tensor:
        """The noisy copies, one ask after the other, in a buffer that is used again."""
        x = asks[0].x
        if len(self._buffer) < total or self._buffer.shape[1:] != x.shape or self._buffer.dtype != x.dtype:
            self._buffer = torch.empty(max(total, self.room), *x.shape, dtype=x.dtype, device=self.target.device)
        at = 0
        for ask in asks:
            part = self._buffer[at : at + ask.count]
            self.noise.fill(part, ask.stream.generator)
            torch.add(ask.x, part, alpha=self.noise.scale, out=part)
            ask.stream.drawn += ask.count
            at += ask.count
        return self._buffer[:total]

    def _inner(self, asks: Sequence[Ask]) -> RowNoise:
        """The noise of a target that is itself random: each sample is a question of its own, of its row."""
        words = torch.tensor([ask.stream.word for ask in asks for _ in range(ask.count)])
        numbers = torch.cat([torch.arange(ask.stream.drawn - ask.count, ask.stream.drawn) for ask in asks])
        return RowNoise(words.to(self.target.device), 0, "inside").at(numbers.to(self.target.device))

    def _labels(self, x: Tensor, draw: RowNoise | None) -> Tensor:
        """Answers int64 (m,) on the CPU; `classes` where there is none: scores that are not finite, an endpoint that refuses."""
        with torch.no_grad():
            if self.target.access < Access.SCORE:
                labels = self.target.labels(x, draw)
                silent = labels < 0
            else:
                z = self.target.scores(x, draw)
                labels = z.argmax(1)
                sound = math.isfinite(float(z.sum()))  # one number tells of all, where they are as they should be
                silent = None if sound else ~torch.isfinite(z).all(1)
        if bool((labels >= self.classes).any()):
            raise BadTarget(
                f"{self.target.name}: answered class {int(labels.max())} of {self.classes}; the number of classes must not change"
            )
        return (labels if silent is None else torch.where(silent, self.classes, labels)).cpu()


def _places(s: slice, draw: RowNoise) -> Tensor:
    return torch.arange(s.start, s.stop, device=draw.ids.device)


def _chunks_of(samples: int) -> list[int]:
    whole, rest = divmod(samples, CHUNK)
    return [CHUNK] * whole + [rest] * bool(rest)


def classes_of(target: Target, x: Tensor) -> int:
    """How many classes a target has, from clean inputs x (n, *shape), n >= 1.

    Raises:
        BadTarget: it is no classifier.
    """
    target.prepare(x[: usual_rows(target.device)])
    if target.classes is not None:
        return target.classes
    if target.access < Access.SCORE:
        raise BadTarget(f"{target.name}: the number of classes is not known; say classes= for a target that only shows labels")
    draw = RowNoise(torch.zeros(1, dtype=torch.int64, device=x.device)) if target.randomised else None
    return target.scores(x[:1], draw).shape[1]


@dataclass(frozen=True, eq=False)
class Named:
    """What rows are called, int64 (n,) on the CPU, and how many classes there are."""

    ids: Tensor
    classes: int


def checked_rows(target: Target, x: Tensor, y: Tensor | None, ids: Tensor | None) -> Named:
    """The names of rows x (n, *shape), by default their places, and the number of classes that the target has.

    Raises:
        BadData: no rows, or labels or names that do not fit them.
        BadTarget: the target is no classifier.
    """
    if not len(x) or not x.is_floating_point():
        raise BadData("certify: give at least one row of floats, in the range that the model takes")
    names = torch.arange(len(x)) if ids is None else ids.to("cpu", torch.int64)
    if names.shape != (len(x),):
        raise BadData(f"certify: {len(names)} ids for {len(x)} rows; give one for each")
    classes = classes_of(target, x.to(target.device))
    if y is not None and (y.shape != (len(x),) or not 0 <= int(y.min()) <= int(y.max()) < classes):
        raise BadData(f"certify: y must be {len(x)} class numbers from 0 to {classes - 1}, one for each row of x")
    return Named(names, classes)
