"""Surrogates give the gradients they should, in closed form; what points nowhere is zero, and noted."""

from __future__ import annotations

import pytest
import torch
from spine import Noisy, attacking, siege
from torch import Tensor, nn
from worlds import Halfspace, rows

from vauban.doors import Aim
from vauban.errors import BadPlan, BadTarget
from vauban.noise import RowNoise
from vauban.target import Expectation, Mean, Own, StraightThrough, Surrogate, Torch
from vauban.threat import Access, Ball


class Linear(nn.Module):
    """Scores (0, w.x, -100) with constant w."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((36,), w))

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.w
        return torch.stack([0 * z, z, 0 * z - 100], 1)


def own(w: float) -> Torch:
    return Torch(Linear(w), outputs="logits")


def gradient(surrogate: Surrogate | None, loss=Aim.margin, **options: object) -> Tensor:
    o = siege(options.pop("model", None), Ball(0.1), surrogate=surrogate, **options)
    with attacking(o):
        return o.ascend(o.x, loss)[1].flatten(1)


def test_own_is_the_model_it_holds() -> None:
    assert torch.allclose(gradient(Own(own(2.0))), torch.full((5, 36), 2.0))
    assert Own(own(1.0)).access is Access.NONE


def test_the_mean_of_surrogates_has_the_mean_gradient() -> None:
    assert torch.allclose(gradient(Mean([Own(own(1.0)), Own(own(5.0))])), torch.full((5, 36), 3.0))
    assert Mean([Own(own(1.0)), own(1.0)]).access is Access.GRADIENT, "what needs the most of the target decides"
    assert Mean([own(1.0), Expectation(own(1.0), 4)]).passes == 5
    with pytest.raises(BadPlan, match="mean of no surrogates"):
        Mean([])


def test_straight_through_looks_through_the_step_and_points_past_it() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            s = x.flatten(1).square().sum(1)
            return torch.stack([0 * s, s, 0 * s - 100], 1)

    x = rows()[0].flatten(1)
    square = Torch(Square(), outputs="logits")
    rounded = StraightThrough(torch.round, square)
    assert torch.allclose(gradient(Own(rounded)), 2 * torch.round(x)), (
        "the gradient of what follows, where the step lands; identity for the step"
    )
    softened = StraightThrough(torch.round, square, backward=lambda v: 3 * v)
    assert torch.allclose(gradient(Own(softened)), 6 * torch.round(x))
    with pytest.raises(BadPlan, match="BPDA: the step gives"):
        gradient(Own(StraightThrough(lambda v: v.flatten(1), square)))


def test_an_expectation_has_the_mean_gradient_over_draws() -> None:
    class Scaled(Surrogate):
        access = Access.NONE
        passes = 1

        def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
            assert draw is not None
            z = x.flatten(1).sum(1) * draw.uniform(1)[:, 0]
            return torch.stack([0 * z, z, 0 * z - 100], 1)

    found = gradient(Expectation(Scaled(), draws=400))
    assert torch.allclose(found, torch.full((5, 36), 0.5), atol=0.05), "the mean of uniform draws"
    assert len(found[:, 0].unique()) == 5, "rows draw for themselves"
    few = gradient(Expectation(Scaled(), draws=3))
    assert not torch.allclose(few, found)
    with pytest.raises(BadPlan, match="draws = 0"):
        Expectation(Scaled(), draws=0)


def test_a_target_is_asked_for_the_truth_while_a_stand_in_gives_the_gradient() -> None:
    o = siege(Halfspace(), Ball(0.4), surrogate=Own(own(-1.0)))
    with attacking(o):
        value, grad, fooled = o.explore(o.project(o.x + 0.3), Aim.margin)
    assert fooled.all()
    assert (value < 0).all(), "the stand-in believes otherwise"
    assert (grad == -1).all()


def test_without_the_truth_an_attacker_believes_its_surrogate() -> None:
    o = siege(Halfspace(), Ball(0.4), threat={"access": Access.NONE}, surrogate=Own(own(1.0)))
    with attacking(o):
        _, _, fooled = o.explore(o.x)
        assert fooled.all()
    assert not o.outcome.broken.any()


def test_a_surrogate_of_other_classes_is_refused_in_one_sentence() -> None:
    o = siege(Halfspace(classes=2), Ball(0.4), surrogate=Own(own(1.0)))
    with pytest.raises(BadTarget, match=r"the surrogate answers 5 inputs with shape \(5, 3\), and Halfspace has 2 classes"):
        o.ascend(o.x)


def test_an_interrupted_graph_gives_a_zero_gradient() -> None:
    class Rounded(Halfspace):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x.detach() * 8).round() / 8).detach()

    assert (gradient(None, model=Rounded()) == 0).all()
    o = siege(Rounded())
    values, gradients = o.jacobian(o.x)
    assert gradients.shape == (5, 3, 1, 6, 6)
    assert (gradients == 0).all()
    assert (values != 0).any()


def test_gradients_that_are_no_numbers_point_nowhere_and_are_noted() -> None:
    class Kink(nn.Module):
        """The gradient of the square root at 0 is infinite, and times 0 no number: in row 2 alone, and in one feature alone."""

        def forward(self, x: Tensor) -> Tensor:
            z = x.flatten(1)[:, 1] + 0 * x.flatten(1)[:, 0].sqrt()
            return torch.stack([z, 0.1 - z], 1)

    x, y = rows()
    x[2, 0, 0, 0] = 0
    o = siege(Kink(), Ball(0.1), x=x, y=y)
    _, g = o.ascend(o.x, Aim.margin)
    assert torch.isfinite(g).all()
    assert (g.flatten(1)[:, 1] == -2).all(), "the rest of the gradient is kept"
    assert o.book.bad_gradient.tolist() == [False, False, True, False, False]


def test_a_target_without_gradient_says_what_to_do() -> None:
    with pytest.raises(PermissionError, match="give a surrogate, or attack it with score or label access"):
        Noisy(lambda v: v[:, 0]).smooth(rows()[0])


def test_the_class_that_a_loss_is_about_can_differ_by_row() -> None:
    o = siege(Halfspace())
    s = o.rows(k=torch.tensor([0, 1, 2, 1, 0]))
    _, g = o.ascend(o.x, lambda aim, z: z.gather(1, aim.of(s.k)[:, None])[:, 0])
    w = Halfspace().w.detach()
    assert torch.allclose(g.flatten(1), torch.stack([-w, w, 0 * w, w, -w]))
