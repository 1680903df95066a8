"""What an attacker hands in that has only a surrogate of its own to go by."""

from __future__ import annotations

import pytest
import torch
from worlds import Halfspace, rows

from vauban.attacks import ATTACKS, cw_l2, ddn, fmn
from vauban.doors import Oracle
from vauban.doors.oracle.belief import believe, no_belief
from vauban.target import Own, Torch
from vauban.threat import Access, Ball, Threat


class Stricter(torch.nn.Module):
    """A model that says class 1 only where another says so by some margin."""

    def __init__(self, model: torch.nn.Module, by: float) -> None:
        super().__init__()
        self.model, self.by = model, by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.model(x)
        return z - self.by * torch.eye(z.shape[1])[1]


def besieged(name: str, *, times: float, by: float = 0.0, queries: float = torch.inf, **settings: float) -> Oracle:
    """An attack on five rows whose surrogate is laxer than the target, in a ball of so many times what the farthest row needs."""
    model, (x, y) = Halfspace(), rows()
    eps = times * float(model.smallest(x, 2.0).max())
    threat = Threat("t", Ball(eps, "l2"), access=Access.LABEL, queries=queries)
    o = Oracle(Torch(Stricter(model, by), outputs="logits"), x, y, threat, surrogate=Own(Torch(model, outputs="logits")))
    ATTACKS[name].bind(**settings)(o)
    return o


@pytest.mark.parametrize("name", ["ddn", "fmn", "alma", "cw-l2", "deepfool", "super-deepfool"])
def test_one_question_is_enough_where_the_surrogate_is_right(name: str) -> None:
    o = besieged(name, times=1.6, queries=1)
    assert o.outcome.broken.all()


@pytest.mark.parametrize("attack", [ddn, fmn])
def test_the_surest_inside_the_radius_transfers_where_the_nearest_would_not(attack: object) -> None:
    o = besieged(attack.__name__, times=2.0, by=0.02)  # type: ignore[attr-defined]
    assert o.outcome.broken.all()


def test_confidence_is_worth_its_price_on_a_stricter_target() -> None:
    by = 1.0
    plain = besieged(cw_l2.__name__, times=4.0, by=by, steps=200).outcome.broken.sum()
    sure = besieged(cw_l2.__name__, times=4.0, by=by, steps=200, kappa=4.0).outcome.broken.sum()
    assert sure == 5 and plain <= sure


def test_inside_counts_more_than_near_and_sure_more_than_inside() -> None:
    seen, x = no_belief(torch.zeros(1, 2)), torch.zeros(1, 2)
    told = [(2.0, 5.0), (1.5, 1.0), (0.9, 0.5), (0.5, 0.2), (1.0, 3.0), (0.1, -1.0), (1.2, 9.0)]
    kept = []
    for distance, margin in told:
        believe(seen, x + distance, torch.tensor([distance]), torch.tensor([margin]), 1.0)
        kept.append(round(float(seen.end[0, 0]), 3))
    assert kept == [2.0, 1.5, 0.9, 0.9, 1.0, 1.0, 1.0]
