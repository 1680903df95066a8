"""Doubts about gradients: missing, zero, wrong, or led by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import fgsm, pgd

Names = Callable[..., set[str]]


class Told(torch.autograd.Function):
    """The identity, with a gradient that is `factor` times the true one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:  # type: ignore[override]
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return g * ctx.factor, None


def test_a_graph_that_is_cut_is_doubted(names: Names, wrapped: Any) -> None:
    assert "interrupted-graph" in names(wrapped(before=lambda x: x.detach()))
    assert "interrupted-graph" in names(wrapped(before=lambda x: torch.tensor(x.tolist())))


def test_a_graph_that_is_cut_for_some_features_is_doubted(names: Names, wrapped: Any) -> None:
    assert "interrupted-graph" in names(wrapped(before=lambda x: torch.cat([x[:, :6], x[:, 6:].detach()], 1)))


def test_features_that_the_model_does_not_look_at_are_not_doubted(names: Names, wrapped: Any) -> None:
    assert "interrupted-graph" not in names(wrapped(before=lambda x: torch.cat([x[:, :6], x[:, :6]], 1)))


def test_a_zero_gradient_is_not_an_interrupted_graph(names: Names, wrapped: Any) -> None:
    found = names(wrapped(before=lambda x: (x * 100).round() / 100))
    assert "zero-gradients" in found and "interrupted-graph" not in found


def saturated(z: Tensor) -> Tensor:
    return 3000 * z


def test_a_gradient_that_is_zero_on_the_way_is_doubted(names: Names, wrapped: Any) -> None:
    assert "zero-gradients" in names(wrapped(after=saturated), 0.12, attacks=[pgd(steps=10)])


@pytest.mark.parametrize("other", [pgd(steps=5, loss="margin"), pgd(steps=10, loss="dlr")])
def test_and_not_where_another_attack_of_the_campaign_raised_what_is_not_flat(names: Names, wrapped: Any, other: Any) -> None:
    assert "zero-gradients" not in names(wrapped(after=saturated), 0.12, attacks=[pgd(steps=10), other])


@pytest.mark.parametrize(("factor", "doubted"), [(1.0, False), (-1.0, True), (0.1, True)])
def test_gradients_that_are_not_the_slope_are_doubted(names: Names, wrapped: Any, factor: float, doubted: bool) -> None:
    model = wrapped(before=lambda x: Told.apply(x, factor))
    assert ("finite-differences-disagree" in names(model)) is doubted


def test_a_kinked_but_honest_network_agrees_with_its_differences(names: Names, rows: tuple[Tensor, Tensor]) -> None:
    x, y = rows
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(200):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    found = names(net, 0.1, attacks=[fgsm(), pgd(), pgd(loss="margin")])
    assert not found & {"finite-differences-disagree", "noisy-loss-surface", "interrupted-graph", "zero-gradients", "quantised-input"}


def rugged(x: Tensor) -> Tensor:
    """Jumps without a gradient on top of a slope with one: each cell of a fine grid lies at a height of its own."""
    height = (12.9898 * (x * 500).floor().sum(1, keepdim=True)).sin() * 0.2
    return x + height


def test_a_rugged_surface_is_doubted(names: Names, wrapped: Any) -> None:
    assert "noisy-loss-surface" in names(wrapped(before=rugged))


@pytest.mark.parametrize("ripple", [0.0, 0.002])
def test_a_smooth_surface_is_not(names: Names, wrapped: Any, ripple: float) -> None:
    assert "noisy-loss-surface" not in names(wrapped(before=lambda x: x + ripple * (20 * x).sin()))


def test_a_target_that_lends_a_stand_in_is_not_held_to_its_own_differences(names: Names, honest: nn.Module) -> None:
    through = vauban.Preprocessed(lambda x: (x * 32).round() / 32, vauban.Torch(honest, outputs="logits"))
    assert not names(through, 0.05) & {"finite-differences-disagree", "noisy-loss-surface", "interrupted-graph", "zero-gradients"}


class Purifies(nn.Module):
    """Moves its input where the model inside is surer, before it answers."""

    def __init__(self, inner: nn.Module, how: str) -> None:
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + 0.01 * getattr(self, self.how)(x).sign())

    def sure(self, x: Tensor) -> Tensor:
        return self.inner(x).amax(1).sum()

    def grad(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            v = x.detach().requires_grad_()
            return torch.autograd.grad(self.sure(v), v)[0]

    def backward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            v = x.detach().requires_grad_()
            self.sure(v).backward()
        assert v.grad is not None
        return v.grad

    def func(self, x: Tensor) -> Tensor:
        return torch.func.grad(self.sure)(x.detach())


@pytest.mark.parametrize("how", ["grad", "backward", "func"])
def test_a_model_that_optimises_while_it_answers_is_doubted(names: Names, honest: nn.Module, how: str) -> None:
    assert "optimises-at-inference" in names(Purifies(honest, how))


def test_a_model_that_only_turns_gradients_on_is_not(names: Names, wrapped: Any) -> None:
    def enabled(x: Tensor) -> Tensor:
        with torch.enable_grad():
            return x * 1.0

    assert "optimises-at-inference" not in names(wrapped(before=enabled))
