"""Several surrogates at once: their mean with the variance between them taken out (SVRE), and steps towards what they have in common (CWA)."""

from __future__ import annotations

import torch

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.memory import unit_mean
from vauban.attacks.parts.priors import members
from vauban.attacks.registry import Count, Natural, Positive, attack
from vauban.doors import Loss, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.target import Surrogate
from vauban.threat import Access


@attack(Access.GRADIENT, on=("linf", "l2"), paper="Xiong et al. 2022, arXiv:2111.10752, algorithm 1")
def svre(o: Oracle, steps: Count = 10, decay: Natural = 1.0, inner: Count = 4, loss: LossName = "cross-entropy") -> None:
    """MI-FGSM on the mean of several surrogates, each step made of small ones along one of them, corrected by what it differs from the mean.

    `inner` small steps for each surrogate. With a single surrogate it is MI-FGSM in smaller steps.
    """
    among, up, size = members(o.surrogate), LOSSES[loss], o.eps / steps
    s = o.rows(x=o.x, memory=torch.zeros_like(o.x))
    for _ in o.steps(steps):
        mean = sum((_slope(o, m, s.x, up) for m in among), torch.zeros_like(s.x)) / len(among)
        at, memory = s.x, torch.zeros_like(s.x)
        for _ in range(inner * len(among)):
            at, memory = _small_step(o, among, at, memory, (s.x, mean), up, size, decay)
        s.memory = decay * s.memory + unit_mean(memory)
        s.x = o.project(s.x + o.steepest(s.memory, s.x, size))
    o.submit(s.x)


def _small_step(
    o: Oracle,
    among: tuple[Surrogate | None, ...],
    at: torch.Tensor,
    memory: torch.Tensor,
    outer: tuple[torch.Tensor, torch.Tensor],
    up: Loss,
    size: float,
    decay: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One variance-reduced step along a surrogate drawn for each row: its gradient here, less its gradient at the outer point, plus the mean
    there."""
    who, g = o.noise.integers(len(among)), torch.zeros_like(at)
    for number, member in enumerate(among):
        mine = (who == number) & torch.ones(len(o), dtype=torch.bool, device=at.device)
        if bool(mine.any()):
            g = g + _slope(o, member, at, up, mine) - _slope(o, member, outer[0], up, mine)
    memory = decay * memory + unit_mean(g + outer[1])
    return o.project(at + o.steepest(memory, at, size)), memory


@attack(Access.GRADIENT, on=("linf", "l2"), paper="Chen et al. 2024, arXiv:2303.09105, algorithm 1")
def cwa(
    o: Oracle, steps: Count = 10, decay: Natural = 1.0, back: Positive = 1 / 15, beta: Positive = 50.0, loss: LossName = "cross-entropy"
) -> None:
    """The common weakness of several surrogates: a step back from the flat optimum, then one along each surrogate in turn; what they come to is
    the direction.

    The step back is `back` radii long (sharpness), the steps along the surrogates `beta` / 255 over the norm of each gradient (cosine
    similarity), with a momentum of their own.
    """
    among, up, size = members(o.surrogate), LOSSES[loss], o.eps / steps
    s = o.rows(x=o.x, memory=torch.zeros_like(o.x), inner=torch.zeros_like(o.x))
    for _ in o.steps(steps):
        mean = sum((_slope(o, m, s.x, up) for m in among), torch.zeros_like(s.x)) / len(among)
        at = o.project(s.x - o.steepest(mean, s.x, back * o.eps))
        for member in among:
            g = _slope(o, member, at, up)
            s.inner = decay * s.inner + g / per_row(norms_of_rows(g, 2.0, g.ndim - 1).clamp_min(1e-30), g)
            at = o.project(at + beta / 255 * o.ball.width * s.inner)
        s.memory = decay * s.memory + (at - s.x)
        s.x = o.project(s.x + o.steepest(s.memory, s.x, size))
    o.submit(s.x)


def _slope(o: Oracle, member: Surrogate | None, x: torch.Tensor, up: Loss, where: torch.Tensor | None = None) -> torch.Tensor:
    """The gradient of one surrogate."""
    if member is None or member is o.surrogate:
        return o.ascend(x, up, where)[1]
    with o.through(member):
        return o.ascend(x, up, where)[1]
