"""`look`: scores where an attack takes its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vauban.doors import Aim, Oracle
from vauban.errors import NotGranted
from vauban.target import Own, Torch, restrict
from vauban.threat import Access, Ball, Threat


def models() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(1)
    return nn.Linear(4, 3), nn.Linear(4, 3)


def test_with_gradient_access_it_is_a_question_to_the_target() -> None:
    model, _ = models()
    x = torch.rand(5, 4)
    o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), Threat("t", Ball(0.01)))
    assert torch.allclose(o.look(x), model(x))
    assert torch.allclose(o.look(x, Aim.margin), o.score(x, Aim.margin))
    assert o.outcome.queries.tolist() == [3] * 5
    assert o.outcome.gradients.tolist() == [0] * 5


def test_without_it_only_the_surrogate_is_asked() -> None:
    model, other = models()
    x = torch.rand(5, 4)
    threat = Threat("transfer", Ball(0.01), access=Access.NONE)
    o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), threat, surrogate=Own(Torch(other, outputs="logits")))
    with o.attacking("t", Access.GRADIENT) as attempt:
        assert torch.allclose(o.look(x), other(x))
    assert o.outcome.queries.tolist() == [0] * 5
    assert (attempt.surrogate_forwards, attempt.forwards) == (5, 0)


def test_without_a_gradient_at_all_it_is_not_granted() -> None:
    model, _ = models()
    x = torch.rand(5, 4)
    o = Oracle(restrict(Torch(model, outputs="logits"), "score"), x, model(x).argmax(1), Threat("t", Ball(0.01), access=Access.SCORE))
    with pytest.raises(NotGranted):
        o.look(x)
