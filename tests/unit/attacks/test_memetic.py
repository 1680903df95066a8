"""ReLUs that leak answer as they are and pass back what was drawn for them; the search finds what lies behind units that are off."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.attacks import memetic, pgd
from vauban.attacks.evasion.gradient.memetic import BELOW
from vauban.attacks.parts.leaking import Leaking
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Threat


class Behind(nn.Module):
    """Class 1 wins where the mean is above 0.6, which a unit hides that is off below; another unit rewards the way down, in vain."""

    def __init__(self, features: int = 40) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, 2), nn.Linear(2, 2)
        with torch.no_grad():
            self.first.weight.copy_(torch.stack([torch.ones(features), -torch.ones(features)]) / features)
            self.first.bias.copy_(torch.tensor([-0.6, 0.8]))
            self.last.weight.copy_(torch.tensor([[0.0, 0.0], [40.0, 1.0]]))
            self.last.bias.copy_(torch.tensor([0.6, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


def behind(n: int = 4) -> tuple[Tensor, Tensor]:
    x = 0.55 + 0.02 * torch.rand(n, 40, generator=torch.Generator().manual_seed(0))
    return x, torch.zeros(n, dtype=torch.long)


def oracle(model: nn.Module, x: Tensor, y: Tensor, eps: float, **options: object) -> Oracle:
    return Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps)), **options)  # type: ignore[arg-type]


class Layers(nn.Module):
    """A ReLU in every spelling, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.place = nn.ReLU(), nn.ReLU(inplace=True)
        g = torch.Generator().manual_seed(1)
        self.weights = nn.ParameterList([torch.randn(6, 6, generator=g) for _ in range(7)])

    def forward(self, x: Tensor) -> Tensor:
        bends = (torch.relu, F.relu, lambda t: F.relu(t, inplace=True), Tensor.relu, Tensor.relu_, self.module, self.place)
        for weight, bend in zip(self.weights, bends, strict=True):
            x = bend(x @ weight)
        return x @ self.weights[0]


def test_what_the_model_answers_is_bitwise_untouched_and_every_unit_is_counted() -> None:
    model, x = Layers(), torch.rand(5, 6)
    leaking = Leaking(oracle(model, x, torch.zeros(5, dtype=torch.long), 0.1), 1)
    leaking.strength = 1.0
    with torch.no_grad():
        plain = model(x)
        with leaking:
            assert torch.equal(model(x), plain)
    assert leaking.units == 5 * 6 * 7


def two_layers() -> nn.Sequential:
    """One input; units on, off, and off for the second layer to see: 2x + 1, x - 9; then their sum less 20, off as well."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    values = ([[2.0], [1.0]], [1.0, -9.0], [[1.0, 1.0], [1.0, 1.0]], [-20.0, 0.0], [[0.0, 0.0], [3.0, 5.0]], [100.0, 0.0])
    for p, v in zip(model.parameters(), values, strict=True):
        p.data.copy_(torch.tensor(v))
    return model


def test_the_gradient_is_the_one_computed_by_hand_with_the_leaks_that_were_drawn() -> None:
    x = torch.tensor([[0.5], [0.25]])
    o = oracle(two_layers(), x, torch.zeros(2, dtype=torch.long), 0.1)
    leaking = Leaking(o, 3)
    leaking.strength = 0.5
    target = torch.ones(2, 3, dtype=torch.long)
    lead, gradient = leaking.ascend(o, x[:, None].expand(2, 3, 1), target)
    assert torch.equal(lead, (5 * (2 * x + 1) - 100).expand(2, 3)), "only the units that are on are heard"
    leaks = [leaking._leaks[layer, (2,)] for layer in (0, 1)]
    assert ((leaks[0] > 0) & (leaks[0] < 1)).all()
    assert (leaks[1][::2] == 0).all(), "every other probe leaks in the first layer alone"
    assert (leaks[1][1::2] > 0).all()
    first, second = (0.5 * leak for leak in leaks)
    into = 3 * second[:, 0] + 5  # of either unit of the first layer: through the unit that is off, and through the one that is on
    expected = 2 * into + 1 * into * first[:, 1]
    torch.testing.assert_close(gradient[..., 0], expected.expand(2, 3))


def test_without_strength_the_gradient_is_the_models_own() -> None:
    x = torch.tensor([[0.5]])
    o = oracle(two_layers(), x, torch.zeros(1, dtype=torch.long), 0.1)
    _, gradient = Leaking(o, 2).ascend(o, x[:, None].expand(1, 2, 1), torch.ones(1, 2, dtype=torch.long))
    assert gradient.flatten().tolist() == [10.0, 10.0]


@pytest.mark.parametrize("chunk", [1, 3, None])
def test_leaks_do_not_depend_on_the_batch_or_on_how_it_is_cut(chunk: int | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3))
    x = torch.rand(4, 5)
    y = model(x).argmax(1)
    target = ((y + 1) % 3)[:, None].expand(4, 2)

    def gradients(rows: Tensor, **options: object) -> Tensor:
        o = oracle(model, x[rows], y[rows], 0.1, ids=rows, **options)
        leaking = Leaking(o, 2)
        leaking.strength = 1.0
        return leaking.ascend(o, x[rows][:, None].expand(-1, 2, 5), target[rows])[1]

    together = gradients(torch.arange(4), max_rows=chunk)
    alone = torch.cat([gradients(torch.tensor([i])) for i in range(4)])
    torch.testing.assert_close(together, alone)


def test_what_lies_behind_a_unit_that_is_off_is_found_where_restarts_fail() -> None:
    x, y = behind()
    plain, deep = oracle(Behind(), x, y, 0.15), oracle(Behind(), x, y, 0.15)
    pgd(steps=40, restarts=20, loss="margin")(plain)
    assert not plain.outcome.broken.any()
    memetic(patience=100)(deep)
    assert deep.outcome.broken.all()
    assert oracle_broken(0.02) == 0, "and where it is out of reach nothing is claimed"


def oracle_broken(eps: float) -> int:
    o = oracle(Behind(), *behind(), eps)
    memetic(patience=100)(o)
    return int(o.outcome.broken.sum())


@pytest.mark.parametrize(("units", "left"), [(1, True), (2, False), (0, False)])
def test_models_of_more_units_cost_one_question(units: int, left: bool) -> None:
    o = oracle(Behind(), *behind(), 0.15)
    before = o.outcome.queries.clone()
    memetic(units=units, patience=100)(o)
    assert (int((o.outcome.queries - before).max()) == 1) == left
    assert bool(o.outcome.broken.any()) != left


def test_models_without_such_units_are_left_too_unless_all_are_wanted() -> None:
    x, y = torch.full((2, 3), 0.4), torch.zeros(2, dtype=torch.long)
    model = nn.Linear(3, 2)
    model.weight.data.copy_(torch.tensor([[0.0] * 3, [1.0] * 3]))
    model.bias.data.copy_(torch.tensor([1.5, 0.0]))
    small, every = oracle(model, x, y, 0.2), oracle(model, x, y, 0.2)
    memetic(units=10)(small)
    memetic()(every)
    assert not small.outcome.broken.any()
    assert every.outcome.broken.all()


def test_a_row_never_costs_more_than_autoattack_spends_on_one() -> None:
    model = nn.Linear(6, 10)
    model.weight.data.mul_(0.01)
    model.bias.data[0] = 5.0
    o = oracle(model, torch.rand(2, 6), torch.zeros(2, dtype=torch.long), 0.1)
    memetic(patience=1e6)(o)
    settings = {k: p.default for k, p in inspect.signature(memetic.function).parameters.items()}
    climbs = settings["targets"] * settings["steps"] // 2 + settings["generations"] * settings["probes"] * settings["steps"]
    assert int(o.outcome.gradients.max()) == climbs <= 1910


def test_the_bounds_never_grow_so_that_leaving_is_for_good() -> None:
    assert list(BELOW) == sorted(BELOW, reverse=True)
