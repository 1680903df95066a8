"""A target behind a step: asked about the step's output, with gradients straight through it or through its code."""

import pytest
import torch

from vauban.errors import BadPlan, NotGranted
from vauban.target import Function, Preprocessed, Torch, default_surrogate
from vauban.threat import Access

X = torch.rand(5, 4, generator=torch.Generator().manual_seed(3))


def coarse(x):
    return (x * 4).round() / 4


def test_the_target_is_asked_about_what_the_step_makes(linear):
    target = Preprocessed(coarse, Torch(linear))
    assert torch.equal(target.scores(X), linear(coarse(X)).detach())
    assert torch.equal(target.labels(X), linear(coarse(X)).argmax(1))
    target.prepare(X)
    assert (target.access, target.outputs) == (Access.GRADIENT, "logits")


def test_gradients_go_straight_through_a_step_that_has_none(linear):
    target = Preprocessed(coarse, Torch(linear))
    x = X.clone().requires_grad_()
    z = default_surrogate(target).smooth(x)
    z[:, 1].sum().backward()
    torch.testing.assert_close(z, linear(coarse(X)))
    torch.testing.assert_close(x.grad, linear.weight[1].detach().expand(5, 4))
    with pytest.raises(NotGranted, match="no gradient"):
        target.smooth(x)


def test_a_given_backward_stands_in_for_the_step(linear):
    target = Preprocessed(lambda x: coarse(x) ** 2, Torch(linear), backward=lambda x: x**2)
    x = X.clone().requires_grad_()
    target.surrogate.smooth(x)[:, 1].sum().backward()
    torch.testing.assert_close(x.grad, linear.weight[1].detach() * 2 * X)


def test_a_differentiable_step_is_differentiated(linear):
    target = Preprocessed(torch.sin, Torch(linear), differentiable=True)
    assert target.surrogate is None and default_surrogate(target) is target
    x = X.clone().requires_grad_()
    target.smooth(x)[:, 1].sum().backward()
    torch.testing.assert_close(x.grad, linear.weight[1].detach() * X.cos())


def test_a_differentiable_step_before_a_defended_target_is_chained(linear):
    target = Preprocessed(torch.sin, Preprocessed(coarse, Torch(linear)), differentiable=True)
    x = X.clone().requires_grad_()
    z = default_surrogate(target).smooth(x)
    z[:, 1].sum().backward()
    torch.testing.assert_close(z, linear(coarse(X.sin())))
    torch.testing.assert_close(x.grad, linear.weight[1].detach() * X.cos())


def test_steps_in_a_row_go_straight_through_each(linear):
    target = Preprocessed(lambda x: 1 - x, Preprocessed(coarse, Torch(linear)))
    z = target.surrogate.smooth(X)
    torch.testing.assert_close(z, linear(coarse(1 - X)))
    torch.testing.assert_close(target.scores(X), z.detach())


def test_a_target_without_gradient_has_no_stand_in():
    assert Preprocessed(coarse, Function(lambda x: x)).surrogate is None


def test_a_step_that_changes_the_shape_needs_a_backward(linear):
    target = Preprocessed(lambda x: x[:, :4], Torch(linear))
    assert target.scores(torch.zeros(2, 6)).shape == (2, 3)
    with pytest.raises(BadPlan, match="backward of the same shape"):
        target.surrogate.smooth(torch.zeros(2, 6))


def test_the_fingerprint_names_the_step(linear):
    whole = Torch(linear)
    assert len({whole.sha256(), Preprocessed(coarse, whole).sha256(), Preprocessed(torch.sin, whole).sha256()}) == 3
    assert Preprocessed(coarse, Function(len)).sha256() == "" and Preprocessed(coarse, whole).parameters_count() == 15
    linear.train()
    with Preprocessed(coarse, whole).held():
        assert not linear.training
