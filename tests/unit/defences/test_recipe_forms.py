"""What the recipe adds to a loss, or does to weights and batches, beside closed forms."""

from __future__ import annotations

import pytest
import torch
from small_training import EPS, plainly_trained, recipe, stripes
from torch import nn
from torch.nn import functional as F

from vauban.attacks import pgd
from vauban.defences.training import harden
from vauban.defences.training.augment import augmented
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.penalties import bounded, input_gradient, jacobian
from vauban.defences.training.rows import Part
from vauban.defences.training.trainee import Trainee
from vauban.defences.training.weights import moved_uphill
from vauban.errors import BadPlan
from vauban.threat import Ball, Threat


def lesson(model: nn.Module, classes: int = 3) -> Lesson:
    x, y = stripes(40)
    trainee = Trainee.of(model)
    trainee.outputs = "logits"
    part = Part(x, y.clamp(max=classes - 1), torch.arange(40))
    return Lesson(trainee, part, Threat("t", Ball(EPS)), pgd(steps=1), recipe(), 1, 1.0, 0.5, part, {})


def linear(weight: torch.Tensor) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0]))
    with torch.no_grad():
        model[1].weight.copy_(weight)  # type: ignore[operator]
    return model


def test_awp_moves_weights_by_gamma_of_their_norm_up_the_gradient_and_back() -> None:
    g = torch.Generator().manual_seed(0)
    model = linear(torch.randn(3, 16, generator=g))
    w, x, y = model[1].weight, torch.randn(40, 16, generator=g), torch.arange(40) % 3
    before, bias = w.detach().clone(), model[1].bias.detach().clone()
    p = F.softmax(x @ before.T + bias, 1) - F.one_hot(y, 3)
    slope = p.T @ x / 40  # the gradient of the mean cross-entropy of a linear model
    with moved_uphill(model, 0.01, lambda: F.cross_entropy(model(x), y)):
        assert torch.allclose(w.detach(), before + 0.01 * before.norm() * slope / slope.norm(), atol=1e-6)
        assert torch.equal(model[1].bias.detach(), bias)
        assert float(F.cross_entropy(model(x), y)) > float(F.cross_entropy(x @ before.T + bias, y))
    assert torch.equal(w.detach(), before)


def test_awp_puts_the_weights_back_when_the_loss_fails() -> None:
    model = linear(torch.eye(16)[:3])
    x, before = torch.rand(4, 16), model[1].weight.detach().clone()
    with pytest.raises(ZeroDivisionError), moved_uphill(model, 0.1, lambda: model(x).square().sum()):
        raise ZeroDivisionError
    assert torch.equal(model[1].weight.detach(), before)


def test_the_input_gradient_penalty_of_a_linear_model_of_two_classes_is_known() -> None:
    weight = torch.randn(2, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    made = lesson(linear(weight), classes=2)
    p = made.trainee.model(made.x).softmax(1)[:, 1]
    expected = ((p - made.y).square() * (weight[1] - weight[0]).square().sum()).mean()
    penalty = input_gradient(made)
    assert torch.allclose(penalty, expected, rtol=1e-5)
    w = made.trainee.model[1].weight  # type: ignore[index]
    assert torch.allclose(torch.autograd.grad(penalty, w)[0], torch.autograd.grad(_known(made, w), w)[0], rtol=1e-4, atol=1e-6)


def _known(made: Lesson, w: torch.Tensor) -> torch.Tensor:
    p = (made.x.flatten(1) @ w.T + made.trainee.model[1].bias).softmax(1)[:, 1]  # type: ignore[index]
    return ((p - made.y).square() * (w[1] - w[0]).square().sum()).mean()


def test_the_jacobian_penalty_of_orthonormal_rows_is_the_number_of_classes() -> None:
    rows = torch.linalg.qr(torch.randn(16, 3, generator=torch.Generator().manual_seed(2)))[0].T
    assert torch.allclose(jacobian(lesson(linear(rows))), torch.tensor(3.0), rtol=1e-5), "whatever the projections"


def test_the_jacobian_penalty_is_the_squared_norm_on_average() -> None:
    weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(3))
    made = lesson(linear(weight))
    values = []
    for epoch in range(60):
        made.epoch = epoch
        values.append(float(jacobian(made).detach()))
    assert sum(values) / 60 == pytest.approx(float(weight.square().sum()), rel=0.03)


def test_no_matrix_keeps_a_larger_spectral_norm_and_small_ones_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 4), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5])))  # type: ignore[operator]
        model[2].weight.mul_(0.1)  # type: ignore[operator]
    small = model[2].weight.detach().clone()
    bounded(model, 2.0)
    assert torch.allclose(model[1].weight.detach(), torch.diag(torch.tensor([2.0, 1.0, 0.5, 0.25])), atol=1e-6)
    assert torch.equal(model[2].weight.detach(), small)
    hardened = plainly_trained()
    harden(hardened, stripes(), Threat("t", Ball(EPS)), pgd(steps=1), recipe(epochs=1, spectral=0.7, keep="last"))
    norms = [float(torch.linalg.matrix_norm(p.detach().flatten(1), 2)) for p in hardened.parameters() if p.ndim > 1]
    assert max(norms) == pytest.approx(0.7, rel=1e-4)


def images() -> Part:
    n = 400
    return Part(torch.rand(n, 2, 5, 4, generator=torch.Generator().manual_seed(0)) + 0.1, torch.arange(n) % 3, torch.arange(n))


def test_shifted_images_are_shifts_with_zeros_at_the_edge_each_about_as_often() -> None:
    part = images()
    found = augmented(part, recipe(shift=1), 1)
    wide = F.pad(part.x, (1, 1, 1, 1))
    which = torch.zeros(3, 3)
    for i in range(len(part)):
        fits = [(r, c) for r in range(3) for c in range(3) if torch.equal(found.x[i], wide[i, :, r : r + 5, c : c + 4])]
        assert len(fits) == 1
        which[fits[0]] += 1
    assert which.min() > 25
    assert torch.equal(found.y, part.y)


def test_mirrored_images_are_turned_left_to_right_half_of_the_time_and_anew_in_every_epoch() -> None:
    part = images()
    turned = []
    for epoch in (1, 2):
        x = augmented(part, recipe(mirror=True), epoch).x
        same = (x == part.x).flatten(1).all(1)
        assert torch.equal(x[~same], part.x[~same].flip(-1))
        assert 150 < int(same.sum()) < 250
        turned.append(same)
    assert not torch.equal(*turned)


def test_an_image_is_augmented_the_same_in_any_batch() -> None:
    part, how = images(), recipe(shift=2, mirror=True)
    whole, some = augmented(part, how, 3), augmented(part.take(torch.tensor([7, 300])), how, 3)
    assert torch.equal(whole.x[[7, 300]], some.x)
    with pytest.raises(BadPlan, match="are for images"):
        augmented(Part(part.x.flatten(1), part.y, part.ids), how, 1)
