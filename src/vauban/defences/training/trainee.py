"""The model in training: a target for the inner attack in evaluation mode, and scores in training mode for the loss."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vauban.target import Torch


class Trainee(Torch):
    """A PyTorch target that can also answer in training mode, with gradients in its parameters."""

    @classmethod
    def of(cls, model: nn.Module | Torch) -> Trainee:
        """The trainee of a module, or of a target that says how its module is fed; the module itself is shared."""
        if not isinstance(model, Torch):
            return cls(model)
        new = object.__new__(cls)
        vars(new).update(vars(model))
        return new

    def learn(self, x: Tensor) -> Tensor:
        """Scores (n, classes) in training mode, differentiable in the parameters."""
        self.model.train()
        return self._forward(x)

    @contextmanager
    def laid_out(self, *, channels_last: bool) -> Generator[None]:
        """Images and convolution weights channels-last for a whole training, and contiguous again afterwards."""
        if not channels_last:
            yield
            return
        try:
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stub lacks this overload
            yield
        finally:
            self.model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]


@contextmanager
def modes_kept(model: nn.Module) -> Generator[None]:
    """Every module is afterwards in the mode, training or evaluation, in which it was."""
    training = {m: m.training for m in model.modules()}
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def drawing(seed: int, device: torch.device) -> Generator[None]:
    """What a model draws from torch's generators, such as dropout, follows from the seed; the generators are afterwards as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
