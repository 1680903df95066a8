"""Access: a question that the threat does not allow is refused, at every level, and costs nothing."""

from __future__ import annotations

import pytest
import torch
from spine import Counting, siege
from worlds import Halfspace, rows

from vauban.doors import Oracle
from vauban.errors import NotGranted
from vauban.target import Function, Own, Torch
from vauban.threat import Access, Ball, Threat

NEEDS = {"submit": Access.NONE, "fooled": Access.LABEL, "score": Access.SCORE, "logits": Access.SCORE, "ascend": Access.GRADIENT,
         "explore": Access.GRADIENT, "jacobian": Access.GRADIENT}  # fmt: skip


@pytest.mark.parametrize("granted", list(Access))
@pytest.mark.parametrize(("question", "need"), NEEDS.items())
def test_a_question_needs_what_it_reveals(question: str, need: Access, granted: Access) -> None:
    model = Counting()
    o = siege(model, threat={"access": granted})
    if need <= granted:
        getattr(o, question)(o.x)
        assert (o.outcome.queries == 1).all()
        return
    with pytest.raises(NotGranted, match=r"threat 't' grants"):
        getattr(o, question)(o.x)
    assert model.forwards == 0
    assert (o.outcome.queries == 0).all()


def test_a_threat_beyond_the_target_is_refused_at_the_door() -> None:
    x, y = rows()
    labels = Function(lambda a: (a.sum((1, 2, 3)) > 18).astype(int), access="label", classes=2)
    with pytest.raises(NotGranted, match="lower the threat's access, or give a surrogate"):
        Oracle(labels, x, y, Threat("t", Ball(0.3), Access.SCORE))


def test_a_label_only_target_is_judged_by_its_labels() -> None:
    x, y = rows()
    seen: list[int] = []
    labels = Function(lambda a: (seen.append(len(a)), (a.mean((1, 2, 3)) > 0.5).astype(int))[1], access="label", classes=2)
    o = Oracle(labels, x, y, Threat("t", Ball(0.3), Access.LABEL, queries=2))
    seen.clear()
    assert not o.fooled(o.x).any()
    assert o.fooled(o.project(o.x + 0.2)).all()
    assert sum(seen) == 10
    assert o.outcome.first.tolist() == [2] * 5
    with pytest.raises(NotGranted, match="no gradient and no surrogate"):
        o.ascend(o.x)


def test_a_surrogate_that_needs_the_model_is_not_had_without_it() -> None:
    o = siege(threat={"access": Access.SCORE}, surrogate=Torch(Halfspace(), outputs="logits"))
    with pytest.raises(NotGranted, match="needs gradient access"):
        o.ascend(o.x)


def test_gradient_access_with_an_own_surrogate_asks_the_target_and_takes_no_gradient_of_it() -> None:
    model = Counting()
    o = siege(model, threat={"gradients": 0}, surrogate=Own(Torch(Halfspace(), outputs="logits")))
    value, gradient = o.ascend(o.project(o.x + 0.3))
    assert torch.isfinite(value).all()
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    assert (model.forwards, model.backwards) == (5, 0)
    assert o.outcome.broken.all()
    assert (o.outcome.gradients == 0).all()
