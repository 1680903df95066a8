"""A target that rounds what it is sent: what is asked, judged and kept is what it received."""

from __future__ import annotations

import pytest
import torch
from spine import attacking
from torch import Tensor
from worlds import Halfspace, rows

from vauban.attacks import ATTACKS
from vauban.doors import Oracle
from vauban.target import Target, Torch
from vauban.threat import Access, Ball, Threat

LEVEL = 1 / 16


class Coarse(Target):
    """Receives inputs rounded to 16 levels, toward the clean input where that is known; remembers what it was asked."""

    access = Access.SCORE
    name = "coarse"

    def __init__(self) -> None:
        self.model, self.seen = Torch(Halfspace()), torch.empty(0, 36)

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        if clean is None:
            return (x / LEVEL).round() * LEVEL
        return clean + ((x - clean) / LEVEL * (1 + 1e-6)).trunc() * LEVEL

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        received = self.wire(x)
        self.seen = torch.cat([self.seen, received.flatten(1)])
        return self.model.scores(received)


def coarse(eps: float) -> tuple[Coarse, Oracle]:
    target, (x, y) = Coarse(), rows()
    return target, Oracle(target, x, y, Threat("t", Ball(eps), access=Access.SCORE))


def test_clean_rows_are_taken_as_they_are_received() -> None:
    _, o = coarse(0.3)
    assert torch.equal(o.x, (rows()[0] / LEVEL).round() * LEVEL)


def test_an_example_is_kept_as_it_was_received_and_lies_in_the_ball() -> None:
    target, o = coarse(0.3)
    ATTACKS["square"].bind(queries=100)(o)
    r = o.outcome
    assert r.broken.all()
    assert torch.equal((r.best / LEVEL).round() * LEVEL, r.best), "on the grid"
    assert (r.distance <= 0.3).all()
    for example in r.best.flatten(1):
        assert (target.seen == example).all(1).any(), "the very point that was asked"


def test_what_rounds_away_is_no_success() -> None:
    """Just over the boundary, but rounded toward the clean row: what the target received does not fool it."""
    _, o = coarse(0.5)
    gap = Halfspace().smallest(o.x, torch.inf)
    v = o.x + (gap * 1.001).float().view(-1, 1, 1, 1)
    with attacking(o):
        assert not o.fooled(v).any() or ((gap / LEVEL) % 1 > 0.998).any()
        assert not o.outcome.broken.any()


@pytest.mark.parametrize("levels", [1, 8, 64])
def test_a_change_of_as_many_levels_as_the_radius_counts(levels: int) -> None:
    """8 levels of 255 are no more than 8/255, whatever float32 makes of them; 9 are."""

    class Bytes(Coarse):
        def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
            return ((x.double() * 255).round() / 255).to(x.dtype)

    target, x = Bytes(), (torch.arange(36).view(1, 1, 6, 6) + 60) / 255
    target.model = Torch(Always(), outputs="logits")
    o = Oracle(target, x, torch.zeros(1, dtype=torch.int64), Threat("t", Ball(f"{levels}/255"), access=Access.SCORE))
    with attacking(o):
        assert not o.fooled(o.x + (levels + 1) / 255).any()
        assert not o.outcome.broken.any()
        assert o.fooled(o.x + levels / 255).all()
    r = o.outcome
    assert r.broken.all()
    assert (r.distance <= levels / 255).all(), "what is kept passes without any tolerance"
    assert ((r.best - x).double().abs().max() <= levels / 255) and torch.equal(target.wire(r.best), target.wire(x + levels / 255))


class Always(torch.nn.Module):
    """Class 1 where anything is brighter than the least that it was shown first."""

    def __init__(self) -> None:
        super().__init__()
        self.least: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        self.least = total.min() if self.least is None else self.least
        return torch.stack([self.least - total + 1e-3, total - self.least], 1)
