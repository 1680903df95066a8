"""Nothing in the region ever leaves the bounds, whatever the network, the norm and the level."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vauban.bounds import certify, network_of
from vauban.bounds.limits import LEVELS
from vauban.geometry import body_of
from vauban.target import Torch
from vauban.threat import Ball

NAMES = (
    "mlp", "leaky", "sigmoid", "tanh", "conv", "maxpool", "avgpool", "pooled", "residual",
    "gelu", "tanh-gelu", "silu", "elu", "softplus", "clamped", "ceiled", "branched", "joined", "signal",
)  # fmt: skip
REACH = {"linf": 1.0, "l2": 2.0, "l1": 3.0, "l0": 1.0}


def inside(ball: Ball, x: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Points of the ball: random ones, and corners, projected into it and the box."""
    body = body_of(ball, x)
    limits = body.limits(x)
    moves = [torch.randn(x.shape, generator=generator) * size for size in (0.1, 1.0)]
    moves += [torch.randn(x.shape, generator=generator).sign() * 9 for _ in range(4)]
    return [x, *(body.project(x, x + move * min(ball.eps, 9), limits) for move in moves)]


def climbed(target: Torch, ball: Ball, x: Tensor, y: Tensor) -> Tensor:
    """Where projected gradient steps on the margin lead."""
    body, at = body_of(ball, x), x
    limits = body.limits(x)
    for _ in range(15):
        point = at.clone().requires_grad_()
        z = target.smooth(point)
        others = z.scatter(1, y[:, None], -math.inf)
        (gradient,) = torch.autograd.grad((others.amax(1) - z.gather(1, y[:, None])[:, 0]).sum(), point)
        at = body.project(x, at + body.steepest(gradient, 0.25 * ball.eps), limits)
    return at.detach()


def margin(z: Tensor, y: Tensor) -> Tensor:
    z = z.double()
    return z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -math.inf).amax(1)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10**6), st.sampled_from(sorted(REACH)), st.sampled_from([0.003, 0.03, 0.3]))
def test_no_answer_in_the_ball_is_below_the_margin_that_was_proven(build, name: str, seed: int, norm: str, eps: float) -> None:
    model, x = build(name, seed)
    target, ball = Torch(model, outputs="logits"), Ball(1 if norm == "l0" else eps * REACH[norm], norm)
    y = target.scores(x).argmax(1)
    generator = torch.Generator().manual_seed(seed)
    tried = [*inside(ball, x, generator), climbed(target, ball, x, y)]
    worst = torch.stack([margin(target.scores(t), y) for t in tried]).amin(0)
    for level in LEVELS:
        found = certify(target, x, y, ball, level=level)
        assert bool((found.margin <= worst).all()), level
        assert bool((found.certified == (found.margin > 0)).all())


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10**6), st.sampled_from([0.003, 0.03, 0.3]))
def test_every_value_inside_the_network_stays_within_its_limits(build, name: str, seed: int, eps: float) -> None:
    model, x = build(name, seed)
    network = network_of(Torch(model, outputs="logits"), x)
    lo, hi = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    known = {level: network.bounds(x, lo, hi, level) for level in LEVELS}
    generator = torch.Generator().manual_seed(seed)
    for _ in range(6):
        share = torch.rand(x.shape, generator=generator)
        for t in (lo + share * (hi - lo), torch.where(share > 0.5, lo, hi)):
            for at, value in enumerate(network.values(t)):
                for level in LEVELS:
                    limits = known[level][at]
                    assert bool(((value >= limits.lo) & (value <= limits.hi)).all()), (level, at)


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_level_is_never_looser(build, name: str) -> None:
    model, x = build(name, 1)
    target = Torch(model, outputs="logits")
    y = target.scores(x).argmax(1)
    for norm, eps in (("linf", 0.05), ("l2", 0.2)):
        low, middle, high = (certify(target, x, y, Ball(eps, norm), level=level).margin for level in LEVELS)
        assert bool((low <= middle).all())
        assert bool((middle <= high).all())


@pytest.mark.parametrize("name", NAMES)
def test_intervals_only_grow_with_the_radius(build, name: str) -> None:
    model, x = build(name, 5)
    target = Torch(model, outputs="logits")
    y = target.scores(x).argmax(1)
    margins = torch.stack([certify(target, x, y, Ball(eps), level="interval").margin for eps in (0.001, 0.01, 0.02, 0.1, 0.5)])
    assert bool((margins.diff(dim=0) <= 0).all())


@pytest.mark.parametrize("name", ["conv", "residual", "mlp"])
def test_a_row_does_not_feel_its_batch(build, name: str) -> None:
    model, x = build(name, 3, 5)
    target = Torch(model, outputs="logits")
    y = target.scores(x).argmax(1)
    together = certify(target, x, y, Ball(0.02)).margin
    alone = torch.cat([certify(target, x[i : i + 1], y[i : i + 1], Ball(0.02)).margin for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
