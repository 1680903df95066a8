"""Proofs at the oracle: proven rows are settled, and a broken proof stops everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import linear_bounds, pgd
from vauban.doors import Oracle
from vauban.errors import BrokenCertificate
from vauban.target import Function, Own, Torch
from vauban.threat import Ball, Goal, Threat


def line() -> tuple[Torch, Tensor, Tensor]:
    """Class 1 beyond the middle; the rows of class 0 are 0.1, 0.2, ... away from it in L-infinity."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    x = torch.tensor([[0.4], [0.3], [0.2], [0.1]])
    return Torch(model, outputs="logits"), x, torch.zeros(4, dtype=torch.long)


def test_what_is_too_far_is_proven_and_not_asked_about_again() -> None:
    target, x, y = line()
    o = Oracle(target, x, y, Threat("t", Ball(0.25)))
    linear_bounds(o)
    assert o.outcome.proved.tolist() == [False, False, True, True]
    pgd(o, steps=10)
    assert o.outcome.broken.tolist() == [True, True, False, False]
    assert o.outcome.queries[2:].tolist() == [0, 0]
    assert o.outcome.queries[:2].min() > 0
    assert [a.proved for a in o.book.attempts] == [2, 0]


def test_a_wanted_class_that_nothing_reaches_is_proven() -> None:
    target, x, y = line()
    o = Oracle(target, x, y, Threat("t", Ball(0.25), goal=Goal(wanted=1)))
    linear_bounds(o)
    assert o.outcome.proved.tolist() == [False, False, True, True]


def test_broken_rows_are_not_proven() -> None:
    target, x, y = line()
    o = Oracle(target, x, y, Threat("t", Ball(0.25)))
    pgd(o, steps=10)
    linear_bounds(o)
    assert not (o.outcome.proved & o.outcome.broken).any()
    assert o.outcome.proved.sum() == 2


@pytest.mark.parametrize("settle", ["first", "nearest"])
def test_a_broken_certificate_stops_the_run(settle: str) -> None:
    target, x, y = line()
    o = Oracle(target, x, y, Threat("t", Ball(0.25)), settle=settle)  # type: ignore[arg-type]
    o.book.proved[0] = True
    with pytest.raises(BrokenCertificate, match="row 0 was proven robust"):
        o.book.keep(
            torch.tensor([0]), x[:1] + 0.2, torch.tensor([0.2], dtype=torch.float64), torch.tensor([1]), torch.ones(1), eps=0.25, by=0
        )


def test_where_nothing_can_be_proven_the_attempt_says_why() -> None:
    x = torch.tensor([[0.4], [0.3]])
    curved = Torch(nn.Sequential(nn.Linear(1, 2), nn.Mish()), outputs="logits")
    black_box = Function(lambda x: np.stack([0.5 - x[:, 0], x[:, 0] - 0.5], 1))
    for target, why in ((curved, "Mish"), (black_box, "torch modules")):
        surrogate = None if target is curved else Own(curved)
        o = Oracle(target, x, target.scores(x).argmax(1), Threat("t", Ball(0.1), access=target.access), surrogate=surrogate)
        linear_bounds(o)
        assert not o.outcome.proved.any()
        assert why in o.book.attempts[0].stopped
