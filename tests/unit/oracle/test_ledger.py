"""The query ledger: every question is of one kind, and those that get no answer are charged all the same."""

from __future__ import annotations

import pytest
import torch
from spine import FAR, NEAR, Counting, attacking, lit, siege
from torch import Tensor
from worlds import Halfspace, rows

from vauban.doors import Oracle
from vauban.errors import BadData, BadTarget, NotGranted
from vauban.target import Own, Target, Torch, restrict
from vauban.threat import Access, Ball, Threat


class Moody(Target):
    """Refuses to answer about inputs whose first feature is above `over`."""

    access = Access.SCORE
    refuses = True
    name = "moody"

    def __init__(self, over: float = 0.9) -> None:
        self.over, self.model = over, Torch(Halfspace())

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        refused = x.flatten(1)[:, 0] > self.over
        return torch.where(refused[:, None], torch.nan, self.model.scores(x))

    def labels(self, x: Tensor, draw: object = None) -> Tensor:
        z = self.scores(x)
        return torch.where(z.isnan().all(1), -1, z.argmax(1))


def moody(over: float = 0.9, access: Access = Access.SCORE, **options: object) -> Oracle:
    x, y = rows()
    return Oracle(restrict(Moody(over), access), x, y, Threat("t", Ball(0.5), access=access), **options)  # type: ignore[arg-type]


def refused_point(o: Oracle) -> Tensor:
    v = o.x.clone()
    v.view(len(v), -1)[:2, 0] = 1.0
    return v


def test_every_question_is_of_the_kind_it_says() -> None:
    o = siege(Halfspace(), NEAR)
    with attacking(o):
        o.fooled(o.x, kind="initial")
        o.score(o.x, kind="projection")
        o.logits(o.x.expand(3, *o.x.shape), kind="gradient")
        o.score(o.x)
        o.submit(o.x)
    kinds = {kind: int(n[0]) for kind, n in o.outcome.kinds.items()}
    assert kinds == {"initial": 1, "gradient": 3, "step": 1, "projection": 1, "check": 1}


@pytest.mark.parametrize("access", [Access.SCORE, Access.LABEL])
def test_a_question_that_gets_no_answer_is_charged_recorded_and_no_success(access: Access) -> None:
    o = moody(access=access)
    with attacking(o):
        won = o.fooled(refused_point(o))
        assert o.answered.tolist() == [False, False, True, True, True]
    assert not won.any()
    assert o.outcome.refused.tolist() == [1, 1, 0, 0, 0]
    assert o.outcome.queries.tolist() == [1, 1, 1, 1, 1]
    assert not o.book.nonfinite.any(), "a refusal is no NaN"


def test_the_value_of_a_question_that_got_no_answer_is_that_of_one_never_asked() -> None:
    o = moody()
    with attacking(o):
        value = o.score(refused_point(o))
        z = o.logits(refused_point(o))
    assert value[:2].tolist() == [-torch.inf] * 2
    assert torch.isfinite(value[2:]).all()
    assert (z[:2] == 0).all()


def test_rows_whose_clean_input_gets_no_answer_are_in_no_denominator() -> None:
    o = moody(over=0.45)
    assert o.outcome.eligible.tolist() == [False, False, True, True, True]
    assert not o.outcome.broken.any()


def test_a_model_that_never_answers_is_not_measured() -> None:
    with pytest.raises(BadTarget, match="no answer to any of 5"):
        moody(over=0.0)


def test_answered_knows_what_was_not_asked() -> None:
    o = siege(Halfspace(), FAR, threat={"queries": 4})
    with attacking(o):
        o.fooled(lit(o, 0))
        o.fooled(o.x.expand(2, *o.x.shape), where=torch.tensor([True, True, False, True, True]))
        assert o.answered.tolist() == [[False, True, False, True, True]] * 2
        assert o.left.tolist() == [3, 1, 3, 1, 1]
        o.fooled(o.x.expand(2, *o.x.shape))
        assert o.answered.sum(0).tolist() == [0, 1, 2, 1, 1], "trimmed to what the budget has left"


def test_gradients_go_through_another_surrogate_for_a_while() -> None:
    x, y = rows()
    o = Oracle(Torch(Halfspace()), x, y, Threat("t", FAR, access=Access.SCORE), surrogate=Own(Torch(Halfspace())))
    opposite = Halfspace()
    opposite.w.data.neg_()
    with attacking(o):
        _, mine = o.ascend(o.x)
        with o.through(Own(Torch(opposite))):
            _, other = o.ascend(o.x)
        _, again = o.ascend(o.x)
        with pytest.raises(NotGranted, match="gradient access"), o.through(Torch(opposite)):
            pass
    assert torch.equal(mine, again)
    assert (mine * other <= 0).all()
    assert int(o.outcome.queries.sum()) == 0


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(BadData, match="samples of shape"):
        moody(samples=(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)))


def test_rows_in_different_phases_share_one_call_and_each_question_its_own_kind() -> None:
    model = Counting()
    o = siege(model, NEAR)
    before = model.calls
    with attacking(o):
        o.fooled(o.x, torch.tensor([True, True, True, True, False]), kind=torch.tensor([0, 3, 3, 2, 1]))
    assert model.calls == before + 1
    assert o.outcome.kinds["initial"].tolist() == [1, 0, 0, 0, 0]
    assert o.outcome.kinds["projection"].tolist() == [0, 1, 1, 0, 0]
    assert o.outcome.kinds["step"].tolist() == [0, 0, 0, 1, 0]
    assert o.outcome.queries.tolist() == [1, 1, 1, 1, 0]
