"""A restricted target answers as before and shows less."""

import pytest
import torch

from vauban.errors import BadPlan, NotGranted
from vauban.target import Function, Preprocessed, Torch, default_surrogate, restrict
from vauban.threat import Access

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("level", ["none", "label", "score"])
def test_below_each_level_the_answer_is_withheld_and_the_rest_is_unchanged(level, linear):
    whole = Torch(linear)
    target = restrict(whole, level)
    assert target.access == Access.parse(level)
    assert torch.equal(target.labels(X), whole.labels(X))
    with pytest.raises(NotGranted, match=f"restricted to {level} access, it shows no gradient"):
        target.smooth(X)
    if level == "score":
        assert torch.equal(target.scores(X), whole.scores(X))
    else:
        with pytest.raises(NotGranted, match=f"restricted to {level} access, it shows no scores"):
            target.scores(X)


def test_the_stand_in_of_a_defended_target_is_withheld(linear):
    behind = Preprocessed(torch.round, Torch(linear))
    assert behind.surrogate is not None
    assert restrict(behind, "score").surrogate is None and default_surrogate(restrict(behind, "score")) is None


def test_equal_access_is_the_target_itself_and_more_is_refused(linear):
    whole = Torch(linear)
    assert restrict(whole, Access.GRADIENT) is whole
    with pytest.raises(NotGranted, match="shows labels and cannot be made to show scores"):
        restrict(restrict(whole, "label"), "score")
    with pytest.raises(BadPlan, match="not a level of access"):
        restrict(whole, "lable")


def test_what_it_is_stays_known(linear):
    whole = Torch(linear, reject=2, name="mine")
    target = restrict(whole, "label")
    target.prepare(X)
    assert (target.name, target.reject, target.classes, target.outputs) == ("mine", 2, 3, "logits")
    assert target.sha256() == whole.sha256() and target.parameters_count() == 15
    with target.held():
        assert not linear.training
    labels = restrict(Function(lambda x: x[:, 0] > 0, access="label"), "none")
    labels.prepare(X)
    assert labels.classes == 2
