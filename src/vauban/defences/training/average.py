"""A running mean of a model's weights, which is often more robust than the weights themselves."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of the parameters; other state, such as batch statistics, is the model's own.

    Args:
        decay: of the mean, in (0, 1); smaller at first, so that the weights training began with are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.mean = {name: p.detach().clone() for name, p in model.named_parameters()}

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                self.mean[name].lerp_(p, weight)

    @contextmanager
    def shown(self) -> Generator[None]:
        """The model has the mean weights meanwhile."""
        own: dict[str, Tensor] = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._put(self.mean)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(weights[name])
