"""A network that was trained to take noise out of clean inputs, put before the model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vauban.defences.input.checks import enough
from vauban.defences.input.owed import THROUGH
from vauban.defences.input.small_nets import convolutional, dense, seeded, trained
from vauban.defences.registry import Clean, defence
from vauban.errors import BadData
from vauban.settings import Count, Positive
from vauban.target import Preprocessed, Target

ROWS = 50
"""Clean rows that it is trained on, at least."""


@defence(
    "input",
    claims="small changes in any norm, which lie off the manifold of clean inputs",
    adaptive="gradients through the autoencoder",
    paper="Vincent et al. 2008; Gu and Rigazio 2015, arXiv:1412.5068; Meng and Chen 2017, arXiv:1705.09064 (MagNet's reformer)",
    owes=THROUGH,
    broken="under attacks through it (Carlini and Wagner 2017, arXiv:1711.08478)",
)
def denoising_autoencoder(
    target: Target, clean: Clean, *, sigma: Positive = 0.1, epochs: Count = 15, width: Count = 16, seed: int = 0
) -> Target:
    """Puts a small autoencoder before the model: convolutional for images, dense for vectors, trained to undo Gaussian noise of `sigma`."""
    return Preprocessed(Denoised.fitted(clean.x, sigma, epochs, width, seed), target, differentiable=True)


class Denoised:
    """x through a trained network, which is frozen."""

    def __init__(self, net: nn.Module, shape: tuple[int, ...]) -> None:
        self.net, self.shape = net, shape

    @classmethod
    def fitted(cls, x: Tensor, sigma: float, epochs: int, width: int, seed: int) -> Denoised:
        """On clean inputs (n, *shape); the same seed gives the same network on the same machine.

        Raises:
            BadData: too few rows, or a network that did not learn to undo anything.
        """
        enough(len(x), ROWS, "denoising-autoencoder")
        shape = tuple(x.shape[1:])
        net = seeded(
            lambda: convolutional(shape[0], shape[0], width) if len(shape) == 3 else dense(math.prod(shape), shape, 8 * width), seed
        )

        def noisy(part: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
            return part + sigma * torch.randn(part.shape, generator=g), part

        error = trained(net, x.cpu(), noisy, epochs, seed)
        if not error < float(x.var(0).mean()):
            raise BadData("the autoencoder does not tell clean inputs from noise; give more clean rows, more epochs, or a smaller sigma")
        return cls(net, shape)

    def __call__(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise BadData(f"the autoencoder was trained on inputs of shape {self.shape}, and these have {tuple(x.shape[1:])}")
        return self.net.to(x.device)(x)
