"""Lipschitz constants: never below what a network does, close to it where it is known, and certificates that nothing contradicts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vauban.bounds.lipschitz import STEEP, certify_lipschitz, lipschitz, norm_of_matrix
from vauban.bounds.network import network_of
from vauban.bounds.ops import matrix_of
from vauban.bounds.pieces import PROFILES
from vauban.errors import BadData, BadPlan
from vauban.geometry import body_of
from vauban.target import Function, Torch
from vauban.threat import Ball

NAMES = (
    "mlp", "leaky", "sigmoid", "tanh", "conv", "maxpool", "avgpool", "pooled", "residual",
    "gelu", "tanh-gelu", "silu", "elu", "softplus", "clamped", "ceiled", "branched", "joined", "signal",
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10**6))
def test_no_network_is_steeper_anywhere_than_its_constant(build, name: str, seed: int) -> None:
    model, x = build(name, seed, 4)
    network = network_of(Torch(model, outputs="logits"), x)
    found = lipschitz(network)
    jacobian = torch.autograd.functional.jacobian(lambda v: network(v[None])[0], x[0].double()).flatten(1)
    assert float(torch.linalg.svdvals(jacobian)[0]) <= found.constant
    for i in range(len(jacobian)):
        for j in range(len(jacobian)):
            assert float((jacobian[i] - jacobian[j]).norm()) <= float(found.lead[i, j]) + 1e-12
    a, b = network(x[:1]), network(x[1:2])
    assert float((a - b).norm()) <= found.constant * float((x[0].double() - x[1].double()).norm())


def test_a_linear_model_has_exactly_the_radius_of_its_nearest_boundary() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    target, x = Torch(model, outputs="logits"), torch.rand(5, 6)
    z, w = model(x).detach().double(), model.weight.detach().double()
    y = z.argmax(1)
    for row in range(5):
        label = int(y[row])
        exact = min(float((z[row, label] - z[row, j]) / (w[label] - w[j]).norm()) for j in range(3) if j != label)
        within, beyond = (certify_lipschitz(target, x[row : row + 1], y[row : row + 1], Ball(exact * s, 2)) for s in (0.9999, 1.0001))
        assert bool(within.certified) and not bool(beyond.certified)


@pytest.mark.parametrize(
    ("k", "s", "p", "d", "g"), [(3, 1, 1, 1, 1), (4, 2, 1, 1, 1), (3, 2, 1, 1, 2), (5, 1, 2, 1, 4), (3, 2, 2, 2, 1), (3, 3, 0, 1, 1)]
)
def test_a_convolution_that_is_not_written_out_has_a_bound_above_its_norm_and_near_it(
    monkeypatch, k: int, s: int, p: int, d: int, g: int
) -> None:
    torch.manual_seed(k * s)
    model = nn.Sequential(nn.Conv2d(4, 8, k, s, p, d, g), nn.Flatten())
    network = network_of(Torch(model, outputs="logits"), torch.rand(1, 4, 12, 12))
    exact = float(torch.linalg.svdvals(matrix_of(network.ops[0], network.shape)[0])[0])
    assert exact <= lipschitz(network).upto[1] <= exact * (1 + 1e-9)
    monkeypatch.setattr("vauban.bounds.lipschitz.WRITTEN_OUT", 12_000)
    loose = lipschitz(network).upto[1]
    assert exact <= loose <= exact * (1.1 if d == 1 else 2.5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6), st.floats(-6, 6))
def test_a_norm_of_a_matrix_is_never_below_the_stretch_of_any_vector(m: int, n: int, seed: int, scale: float) -> None:
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(m, n, generator=g, dtype=torch.float64) * 10**scale
    v = torch.linalg.svd(w).Vh[0]
    assert float((w @ v).norm()) <= norm_of_matrix(w) * float(v.norm())
    assert norm_of_matrix(w) <= float(torch.linalg.svdvals(w)[0]) * (1 + 1e-9)


def test_the_slopes_of_curves_are_their_steepest() -> None:
    line = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    for name, profile in PROFILES.items():
        assert float(profile.slope(line).abs().max()) <= STEEP[name] <= float(profile.slope(line).abs().max()) + 1e-3
    assert float((torch.sigmoid(line) * (1 - torch.sigmoid(line))).max()) <= STEEP["sigmoid"]


def test_overlapping_maxima_count_a_feature_in_every_window_it_stands_in() -> None:
    model = nn.Sequential(nn.MaxPool2d(3, 2, 1, dilation=2), nn.Flatten())
    x = torch.zeros(1, 1, 7, 7)
    network = network_of(Torch(model, outputs="logits"), x)
    one = x.clone()
    one[0, 0, 3, 3] = 1.0
    assert float((network(one) - network(x)).norm()) == 3.0, "nine windows, since with dilation 2 a step of 2 leaves none out"
    assert float((network(one) - network(x)).norm()) <= lipschitz(network).constant


def test_what_is_no_ball_of_length_or_no_network_is_refused() -> None:
    target, x, y = Torch(nn.Linear(2, 2), outputs="logits"), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(BadPlan, match="norm 2 or 1"):
        certify_lipschitz(target, x, y, Ball(0.1))
    with pytest.raises(BadData, match="class numbers"):
        certify_lipschitz(target, x, y + 5, Ball(0.1, 2))
    with pytest.raises(Exception, match="PyTorch modules"):
        certify_lipschitz(Function(lambda v: v, outputs="logits", classes=2), x, y, Ball(0.1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "conv", "maxpool", "residual", "gelu", "joined"])
def test_ten_thousand_tries_never_contradict_a_certificate(build, name: str) -> None:
    tried = 0
    for seed in range(20):
        model, x = build(name, seed, 4)
        target = Torch(model, outputs="logits")
        y = target.scores(x).argmax(1)
        ball = Ball(0.02, 2, lo=-10, hi=10)
        while not bool((sure := certify_lipschitz(target, x, y, ball).certified).any()) and ball.eps > 1e-6:
            ball = Ball(ball.eps / 3, 2, lo=-10, hi=10)
        clean, label = x[sure].repeat(200, *[1] * (x.ndim - 1)), y[sure].repeat(200)
        body = body_of(ball, clean)
        limits = body.limits(clean)
        at = body.project(clean, clean + torch.randn_like(clean) * ball.eps * 9, limits)
        for _ in range(4):  # from random points of the sphere to the worst
            assert bool((target.labels(at) == label).all())
            point = at.clone().requires_grad_()
            z = target.smooth(point)
            lead = z.scatter(1, label[:, None], -math.inf).amax(1) - z.gather(1, label[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(lead.sum(), point)
            at = body.project(clean, at + body.steepest(gradient, ball.eps), limits).detach()
        assert bool((target.labels(at) == label).all())
        tried += 5 * len(clean)
    assert tried >= 10_000
