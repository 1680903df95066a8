"""The model in training: a target for the inner attack in evaluation mode, and scores in training mode for the loss."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vauban.bounds.ops import Op
from vauban.target import Torch


class Trainee(Torch):
    """A PyTorch target that can also answer in training mode, with gradients in its parameters.

    Attributes:
        written: the module, and its operations as `vauban.defences.training.bounding` has written them down, which hold its parameters.
    """

    written: tuple[nn.Module, Sequence[Op]] | None = None

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

    def twin(self, model: nn.Module) -> Trainee:
        """Another module, fed like this one."""
        other = Trainee.of(self)
        other.model, other.written, other._holds = model, None, 0
        return other

    def with_weights(self, weights: Mapping[str, Tensor]) -> Trainee:
        """The same module with other weights (a state dict), for questions in evaluation mode."""
        return self.twin(_Lent(self.model, weights))

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


class _Lent(nn.Module):
    """A module as it would be with other weights."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.weights = model, dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        return functional_call(self.model, self.weights, (x,))


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
