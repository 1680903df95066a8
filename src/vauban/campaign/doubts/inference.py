"""Doubts about what happens inside a forward pass: signs that the model works against the attacker while it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from vauban.campaign.doubts.probe import probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt

BACKWARDS: tuple[Callable[..., Any], ...] = (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)


class Backwards(TorchFunctionMode):
    """Counts the gradients that are taken by what runs under it. It only listens to PyTorch, so debuggers and coverage are left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += func in BACKWARDS
        return func(*args, **(kwargs or {}))


def optimises_at_inference(scene: Scene) -> Doubt | None:
    """The target takes gradients while it answers: it optimises something, or purifies its input (Croce et al. 2022)."""
    target, probe = scene.plan.target, probe_of(scene)
    if not len(probe):
        return None
    first = torch.arange(min(len(probe), 2), device=target.device)
    noise = None if probe.noise is None else probe.noise.take(first)
    with torch.no_grad(), Backwards() as seen:
        target.labels(probe.x[: len(first)].to(target.device), noise)
    if not seen.count:
        return None
    return Doubt(
        "optimises-at-inference",
        f"the target took gradients {seen.count} times to give one answer: it optimises while it answers, and one gradient through it need not "
        "lead where the answers change",
    )
