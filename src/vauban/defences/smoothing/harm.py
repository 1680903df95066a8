"""What noise does to accuracy: asked before thousands of samples are spent on a model that noise leaves guessing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.defences.smoothing.booth import Booth, checked_rows
from vauban.defences.smoothing.smoothed import Smoothed
from vauban.noise import RowNoise

ROWS, SAMPLES = 100, 32
"""Rows that are looked at, and noisy copies of each."""
LOST = 0.2
"""A smoothed classifier that gives up more than this of its accuracy was most often never trained with noise."""


@dataclass(frozen=True)
class Harm:
    """Accuracy on some rows, without noise and by the majority of a few noisy copies.

    Attributes:
        clean, noisy: shares of the rows.
        rows: how many.
        guess: the accuracy of always answering the commonest class of these rows.
    """

    clean: float
    noisy: float
    rows: int
    guess: float

    @property
    def destroyed(self) -> bool:
        """Whether noise leaves no more than guessing, of a model that is better without."""
        error = math.sqrt(self.guess * (1 - self.guess) / self.rows)
        return self.noisy <= self.guess + error and self.clean > self.guess + 3 * error

    @property
    def heavy(self) -> bool:
        """Whether it costs more accuracy than smoothing should."""
        return self.clean - self.noisy > LOST

    def text(self, sigma: float) -> str:
        """What to tell of it."""
        least = f"{self.noisy:.0%} of {self.rows} rows are right under noise of sigma = {sigma:g}, and {self.clean:.0%} without it"
        mend = "train the model with noise of this sigma, or take a smaller one"
        return f"{least}: no better than guessing; {mend}" if self.destroyed else f"{least}; {mend}"


def harm_of(smoothed: Smoothed, x: Tensor, y: Tensor, ids: Tensor | None = None, seed: int = 0) -> Harm:
    """Look at the first rows x (n, *shape) with labels y (n,)."""
    x, y = x[:ROWS], y[:ROWS]
    rows = checked_rows(smoothed.target, x, y, None if ids is None else ids[:ROWS])
    booth = Booth(smoothed.target, smoothed.noise, rows.classes)
    device = smoothed.target.device
    noise = RowNoise(rows.ids.to(device), seed, "harm")
    with smoothed.target.held(), torch.no_grad():
        answers = booth.tally(x, booth.streams(noise), SAMPLES).argmax(1)
        clean = smoothed.target.labels(x.to(device), noise.fork("clean") if smoothed.target.randomised else None).cpu()
    labels = y.cpu()
    return Harm(_share(clean == labels), _share(answers == labels), len(x), float(labels.bincount().max()) / len(x))


def _share(right: Tensor) -> float:
    return float(right.double().mean())
