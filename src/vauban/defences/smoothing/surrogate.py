"""What an attacker takes the gradients of a smoothed classifier from: the mean of its probabilities over noisy copies."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from vauban.defences.smoothing.booth import words_of
from vauban.defences.smoothing.noises import Noise
from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.target import Surrogate
from vauban.target.around import FAR


class MeanUnderNoise(Surrogate):
    """Log of the mean of softmax(f(x + noise)) over draws of the noise (SmoothAdv; Salman et al. 2019, arXiv:1906.04584, equation 6).

    The votes themselves are steps; this is the smoothed classifier of the soft base, whose class is the same where the base is sure of itself.

    Args:
        model: what the base's gradients are taken from.
        noise: what is added to the inputs.
        draws: noisy copies of a row, in one pass.
        appends: whether a column follows that is never answered: the smoothed classifier's abstention.
    """

    randomised = True

    def __init__(self, model: Surrogate, noise: Noise, draws: int, *, appends: bool) -> None:
        if draws < 1:
            raise BadPlan(f"smoothing: draws = {draws} must be at least 1")
        self.model, self.noise, self.draws, self.appends = model, noise, draws, appends
        self.access, self.passes = model.access, model.passes * draws

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        rows = RowNoise(torch.arange(len(x), device=x.device)) if draw is None else draw
        added = self._noise(rows, x)
        copies = (x[:, None] + self.noise.scale * added).flatten(0, 1)
        z = self.model.smooth(copies, self._inner(rows))
        logs = z.view(len(x), self.draws, -1).log_softmax(2).logsumexp(1) - math.log(self.draws)
        if not self.appends:
            return logs
        return torch.cat([logs, logs.detach().amin(1, keepdim=True) - FAR], 1)

    def _noise(self, rows: RowNoise, x: Tensor) -> Tensor:
        """Noise of scale 1, (n, draws, *shape), each row's from its own stream."""
        out = torch.empty(len(x), self.draws, *x.shape[1:], dtype=x.dtype, device=x.device)
        for part, word in zip(out, words_of(rows), strict=True):
            self.noise.fill(part, torch.Generator(x.device).manual_seed(word))
        return out

    def _inner(self, rows: RowNoise) -> RowNoise:
        """The noise of the copies, for a base that is itself random."""
        each = rows.fork("inside").take(torch.arange(len(rows), device=rows.ids.device).repeat_interleave(self.draws))
        return each.at(torch.arange(self.draws, device=rows.ids.device).repeat(len(rows)))

    def held(self) -> AbstractContextManager[None]:
        return self.model.held()
