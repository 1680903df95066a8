"""Targets whose answers are known in closed form, and plans over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from vauban.attacks import find
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import Promise
from vauban.data import Rows
from vauban.target import Target, Torch
from vauban.threat import Ball, Goal, Threat


class HalfSpace(nn.Module):
    """Class 1 exactly where the first feature is above the threshold: logits (0, x_0 - threshold)."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x.flatten(1)[:, 0] - self.threshold
        return torch.stack([torch.zeros_like(first), first], 1)


def rows_at(first: list[float], y: list[int], *, shape: tuple[int, ...] = (3,), **more: Any) -> Rows:
    """Rows whose first feature is as given and whose others are 0.5."""
    x = torch.full((len(first), *shape), 0.5)
    x.view(len(first), -1)[:, 0] = torch.tensor(first)
    names = more.pop("classes", tuple(str(c) for c in range(max(y) + 1)))
    return Rows(x, torch.tensor(y), names, more.pop("ids", torch.arange(len(first))), **more)


@pytest.fixture
def half_space() -> type[HalfSpace]:
    return HalfSpace


@pytest.fixture
def rows() -> Callable[..., Rows]:
    return rows_at


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """A builder of plans against the half-space."""

    def build(
        data: Rows,
        *,
        target: Target | None = None,
        eps: float = 0.1,
        goal: Goal | None = None,
        attacks: tuple[str, ...] = ("fgsm",),
        seconds: float = float("inf"),
        promises: tuple[Promise, ...] = (),
        norm: float = float("inf"),
        **more: Any,
    ) -> Plan:
        threat = Threat("insider", Ball(eps, norm), goal=goal or Goal(), seconds=seconds)
        bound = tuple(find(name).bind() for name in attacks)
        return Plan("a test", target or Torch(HalfSpace(), outputs="logits"), data, (Siege(threat, bound),), promises, **more)

    return build
