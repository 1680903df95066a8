"""Honest models of every sort raise no doubt at all: a doubt that cries wolf is no better than none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import apgd, fgsm, fmn, pgd, square, uniform_noise
from vauban.threat import Access, Ball, Goal, Threat

Names = Callable[..., set[str]]
FULL = [fgsm(), pgd(), pgd(loss="margin", steps=100, step=0.05)]


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Three classes of small pictures, and a convolutional network with dropout and batch normalisation that tells them apart."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(150) % 3
    centres = torch.rand(3, 1, 6, 6, generator=g)
    x = (centres[y] + 0.15 * torch.randn(150, 1, 6, 6, generator=g)).clamp(0, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 3)
        )
        optimiser = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
    return net, (x, y)


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.3])
def test_a_convolutional_network_left_in_training_mode(names: Names, network: Any, eps: float) -> None:
    net, data = network
    assert names(net.train(), eps, data=data, attacks=FULL) == set()


@pytest.mark.parametrize(("norm", "eps"), [(2, 0.3), (1, 1.0), (0, 2)])
def test_other_norms(names: Names, network: Any, norm: float, eps: float) -> None:
    net, data = network
    attacks = [fmn(steps=100)] if norm == 0 else FULL
    assert names(net, data=data, threats=Threat("t", Ball(eps, norm)), attacks=attacks) <= {"too-few-rows"}


@pytest.mark.parametrize("goal", [Goal(wanted=1), Goal(wanted=0, sources=(2,))])
def test_other_goals(names: Names, network: Any, goal: Goal) -> None:
    net, data = network
    assert names(net, data=data, threats=Threat("t", Ball(0.05), goal=goal), attacks=FULL) <= {"too-few-rows"}


def test_a_committee_and_a_black_box(names: Names, network: Any) -> None:
    net, data = network
    one = vauban.Torch(net, outputs="logits")
    assert names(vauban.Committee([one, one]), 0.05, data=data, attacks=FULL) == set()
    closed = vauban.restrict(one, "score")
    score = Threat("t", Ball(0.05), Access.SCORE)
    assert names(closed, data=data, threats=score, attacks=[uniform_noise(), square(queries=100)]) == set()


def test_a_budget_and_an_adaptive_step(names: Names, network: Any) -> None:
    net, data = network
    assert names(net, data=data, threats=Threat("t", Ball(0.05), queries=500), attacks=[apgd(), apgd(loss="dlr")]) == set()


def test_a_table_in_its_own_units(names: Names, rows: tuple[Tensor, Tensor]) -> None:
    """Features as unlike as money and age, in a box of their own, behind a scaler of the model's."""
    x, y = rows
    lo, hi = [0.0] * 6 + [-500.0] * 6, [1.0] * 6 + [350.0] * 6
    low, high = torch.tensor(lo), torch.tensor(hi)

    class Table(nn.Module):
        def forward(self, v: Tensor) -> Tensor:
            z = 8 * (((v - low) / (high - low)).mean(1) - 0.5)
            return torch.stack([-z, z], 1)

    raw = torch.clamp(x * (high - low) + low, low, high)
    assert names(Table(), data=(raw, y), threats=Threat("t", Ball(0.3, lo=lo, hi=hi)), attacks=FULL) == set()


def test_normalisation_in_the_target(names: Names, network: Any) -> None:
    net, data = network

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x * 0.25 + 0.5)

    assert names(vauban.Torch(Bare(), outputs="logits", mean=0.5, std=0.25), 0.05, data=data, attacks=FULL) == set()
    assert names(vauban.Torch(nn.Sequential(net, nn.Softmax(1))), 0.05, data=data, attacks=FULL) == set()
