"""Adversarial weight perturbation: the loss is taken where the weights are worse (Wu et al. 2020, arXiv:2004.05884)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn


@contextmanager
def moved_uphill(model: nn.Module, gamma: float, loss: Callable[[], Tensor]) -> Generator[None]:
    """The weights of every layer are `gamma` of their norm away from where they are, up the loss, and back afterwards (equations 8 to 10).

    Biases and the scales of normalisations are left alone.
    """
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    slopes = cast("tuple[Tensor | None, ...]", torch.autograd.grad(loss(), weights, allow_unused=True))
    with torch.no_grad():
        before = [w.clone() for w in weights]
        for w, slope in zip(weights, slopes, strict=True):
            if slope is not None:
                w.add_(slope * (gamma * w.norm() / slope.norm().clamp_min(1e-20)))
    try:
        yield
    finally:
        with torch.no_grad():
            for w, kept in zip(weights, before, strict=True):
                w.copy_(kept)
