"""A network that imitates a step whose gradient is unknown, for attackers of a defence that nobody can differentiate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vauban.defences.input.checks import enough
from vauban.defences.input.small_nets import convolutional, dense, seeded, trained
from vauban.errors import BadTarget

ROWS = 100
"""Clean rows that it is trained on, at least."""
DENSE = 4096
"""Features of an input, at most, for a dense network beside the convolutional one."""
EXPLAINED = 0.5
"""Share of what the step's answers vary by that the network must explain."""


def trained_stand_in(
    step: Callable[[Tensor], Tensor], x: Tensor, *, reach: float = 0.1, epochs: int = 30, width: int = 32, seed: int = 0
) -> nn.Module:
    """A frozen network trained on what `step` makes of clean inputs and of inputs near them, to take its gradient from.

    Of a convolutional network (where the step keeps height and width) and a dense one, the one that imitates held-out rows better.

    Args:
        step: the step, (n, *shape) to (n, *other); it is called without gradient.
        x: clean inputs (n, *shape); every fifth is held out.
        reach: how far around them it is to be imitated, in input units: the radius of the attack, or a little more.

    Raises:
        BadData: fewer than 100 rows.
        BadTarget: the step cannot be imitated: less than half of its variance is explained on held-out rows.

    >>> x = torch.rand(200, 6, generator=torch.Generator().manual_seed(0))
    >>> inverted = trained_stand_in(lambda x: 1 - (x * 16).round() / 16, x, epochs=60)
    >>> leaf = x[:1].clone().requires_grad_()
    >>> inverted(leaf)[0, 0].backward()
    >>> bool(leaf.grad[0, 0] < -0.8)
    True
    """
    enough(len(x), ROWS, "imitated-step")
    x = x.detach().cpu()
    held, own = x[::5], torch.cat([x[i::5] for i in range(1, 5)])

    def answers(part: Tensor) -> Tensor:
        with torch.no_grad():
            return step(part).detach().cpu().to(x.dtype)

    def pairs(part: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        near = moved(part, reach, g)
        return near, answers(near)

    given = moved(held, reach, torch.Generator().manual_seed(seed + 1))
    wanted = answers(given)
    nets = [seeded(make, seed) for make in _candidates(x, wanted, width)]
    for net in nets:
        trained(net, own, pairs, epochs, seed)
    errors = [float(functional.mse_loss(net(given), wanted)) for net in nets]
    best = min(range(len(nets)), key=errors.__getitem__)
    unexplained = errors[best] / max(float(wanted.var(0).mean()), 1e-12)
    if not unexplained < 1 - EXPLAINED:
        raise BadTarget(
            f"a trained stand-in explains {max(1 - unexplained, 0):.0%} of what the step does to held-out rows; give more clean rows, or a "
            "differentiable stand-in of your own"
        )
    return nets[best]


def moved(x: Tensor, reach: float, g: torch.Generator) -> Tensor:
    """Inputs changed within `reach`: each by noise, uniform or of random signs, of a size of its own."""
    size = reach * torch.rand((len(x), *[1] * (x.ndim - 1)), generator=g)
    noise = 2 * torch.rand(x.shape, generator=g) - 1
    coarse = torch.rand(size.shape, generator=g) < 0.5
    low, high = x.amin(), x.amax()
    return (x + size * torch.where(coarse, noise.sign(), noise)).clamp(low, high)


def _candidates(x: Tensor, answers: Tensor, width: int) -> list[Callable[[], nn.Module]]:
    found: list[Callable[[], nn.Module]] = []
    if x.ndim == 4 and answers.ndim == 4 and x.shape[2:] == answers.shape[2:]:
        found.append(lambda: convolutional(x.shape[1], answers.shape[1], width))
    features, shape = math.prod(x.shape[1:]), tuple(answers.shape[1:])
    if not found or max(features, math.prod(shape)) <= DENSE:
        found.append(lambda: dense(features, shape, 8 * width))
    return found
