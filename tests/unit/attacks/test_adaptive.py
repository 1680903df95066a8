"""The adaptive ascents spend where it pays, and what they decide on a row is a matter of that row alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import adaptive, square
from vauban.attacks.evasion.gradient.adaptive import FIRST, ROUNDS
from vauban.doors import Oracle
from vauban.target import Own, Torch
from vauban.threat import Access, Ball, Threat


class Scaled(nn.Module):
    """A small network whose scores are stretched and shifted."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(5)
        self.first, self.last = nn.Linear(12, 32), nn.Linear(32, 5)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=g) * 0.5)
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu()) * self.scale + self.shift


def rows(n: int = 40) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 12, generator=torch.Generator().manual_seed(2))
    return x, Scaled()(x).argmax(1)


def besieged(model: nn.Module, x: Tensor, y: Tensor, eps: float = 0.04, **options: object) -> Oracle:
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps)), **options)  # type: ignore[arg-type]
    adaptive(o)
    return o


def test_the_bounds_of_the_rounds_never_grow_so_that_leaving_is_for_good() -> None:
    bounds = [r.below for r in (FIRST, *ROUNDS)]
    assert bounds == sorted(bounds, reverse=True)


def test_far_rows_get_two_ascents_and_near_rows_more() -> None:
    x, y = rows()
    o = besieged(Scaled(), x, y, eps=0.02)
    standing, spent = o.outcome.standing, o.outcome.gradients
    least = FIRST.steps + 2 + ROUNDS[0].steps
    assert standing.any()
    assert not standing.all()
    assert spent[standing].min() == least, "a hopeless row is left after two ascents"
    assert spent[standing].max() > 2 * least, "a near row is tried again and again"
    assert spent.double().mean() < 5 * least


def test_stretching_and_shifting_the_scores_changes_nothing() -> None:
    x, y = rows()
    plain, stretched = besieged(Scaled(), x, y), besieged(Scaled(64.0, 16.0), x, y)
    assert torch.equal(plain.outcome.broken, stretched.outcome.broken)


def test_a_row_alone_is_treated_as_in_a_crowd() -> None:
    x, y = rows(12)
    together = besieged(Scaled(), x, y).outcome
    for i in range(12):
        alone = besieged(Scaled(), x[i : i + 1], y[i : i + 1], ids=torch.tensor([i])).outcome
        assert bool(alone.broken) == bool(together.broken[i])
        assert int(alone.gradients) == int(together.gradients[i])


def test_with_a_surrogate_of_its_own_the_target_is_asked_nothing_but_submissions() -> None:
    x, y = rows(8)
    o = Oracle(
        Torch(Scaled(), outputs="logits"),
        x,
        y,
        Threat("t", Ball(0.2), access=Access.NONE),
        surrogate=Own(Torch(Scaled(3.0), outputs="logits")),
    )
    adaptive(o, rounds=3)
    assert o.outcome.gradients.sum() == 0
    assert o.outcome.queries.max() <= 4
    assert o.outcome.broken.any()


@pytest.mark.parametrize("hope", [0, 0.1])
def test_square_gives_up_only_rows_that_lack_too_much(hope: float) -> None:
    x, y = rows()
    o = Oracle(Torch(Scaled(), outputs="logits"), x, y, Threat("t", Ball(0.04), access=Access.SCORE))
    square(o, queries=600, hope=hope)
    spent, standing = o.outcome.queries, o.outcome.standing
    if hope:
        assert spent[standing].min() < 300
        assert spent.double().mean() < 400
    else:
        assert spent[standing].min() == 600
