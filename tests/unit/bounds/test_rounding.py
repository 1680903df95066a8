"""What the deployed model computes in float32 is inside the bounds, and only because rounding is charged."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vauban.bounds import certify, network_of
from vauban.bounds.interval import Rounding
from vauban.bounds.limits import limits_of
from vauban.bounds.region import Region
from vauban.errors import Unsupported
from vauban.target import Torch
from vauban.threat import Ball


class Crumbs(nn.Module):
    """z0 = 1 + the sum of many small numbers, z1 a little less: exact sums keep the order, float32 may not."""

    def __init__(self, count: int = 4000) -> None:
        super().__init__()
        weight = torch.zeros(2, count + 1)
        weight[0, 0], weight[0, 1:], weight[1, 0] = 1.0, 2.0**-26, 1.0
        self.layer = nn.Linear(count + 1, 2)
        self.layer.weight.data, self.layer.bias.data = weight, torch.tensor([0.0, 2.0**-26 * (count - 50)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_margin_that_float32_may_lose_is_not_certified() -> None:
    target, x, y = Torch(Crumbs(), outputs="logits"), torch.ones(1, 4001), torch.zeros(1, dtype=torch.long)
    ball = Ball(1e-9, hi=2)
    assert not certify(target, x, y, ball).certified.any()
    wide = Torch(Crumbs().double(), outputs="logits")
    exact = network_of(wide, x.double())(x.double())
    assert exact[0, 0] > exact[0, 1]
    assert certify(wide, x.double(), y, Ball(1e-15, hi=1 + 1e-9)).margin > -1e-6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(2000, 30), (30, 2000), (300, 300)]), st.sampled_from([1e-3, 1.0, 1e4]))
def test_float32_scores_are_within_the_limits_of_a_point(seed: int, sizes: tuple[int, int], scale: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.ReLU(), nn.Linear(sizes[1], 3))
    for parameter in model.parameters():
        parameter.data.mul_(scale).add_(scale * 0.1)
    x = torch.rand(4, sizes[0])
    target = Torch(model, outputs="logits")
    limits = network_of(target, x).bounds(x, x, x, "interval")[-1]
    for z in (target.scores(x), torch.cat([target.scores(row[None]) for row in x])):
        assert bool(((z >= limits.lo) & (z <= limits.hi)).all())


@pytest.mark.parametrize("through", ["interval", "crown"])
def test_without_the_charge_float32_would_leave_the_bounds(build, through: str) -> None:
    """Of a model whose scores nearly cancel, float32 answers lie outside the exact limits: the charge is needed."""
    outside = 0
    for seed in range(5):
        model, x = build("residual", seed)
        target = Torch(model, outputs="logits")
        network = network_of(target, x)
        clean = x.double()
        z = target.scores(x).double()
        for rounding, charged in ((Rounding(2.0**-53), False), (network.rounding, True)):
            limits = limits_of(network.ops, Region.box(clean, clean, clean), rounding, through)[-1]  # type: ignore[arg-type]
            beyond = bool(((z < limits.lo) | (z > limits.hi)).any())
            assert not (beyond and charged)
            outside += beyond
    assert outside


def test_the_charge_is_small_beside_the_margin(build) -> None:
    for name in ("mlp", "conv", "residual"):
        model, x = build(name, 0)
        limits = network_of(Torch(model, outputs="logits"), x).bounds(x, x, x)[-1]
        assert bool((limits.hi - limits.lo < 1e-2).all())


def test_a_half_precision_model_is_charged_more(build) -> None:
    model, x = build("mlp", 0)
    single = network_of(Torch(model, outputs="logits"), x).bounds(x, x, x)[-1]
    half = Torch(model.bfloat16(), outputs="logits")
    x = x.bfloat16()
    limits = network_of(half, x).bounds(x, x, x)[-1]
    z = half.scores(x)
    assert bool(((z >= limits.lo) & (z <= limits.hi)).all())
    assert bool((limits.hi - limits.lo > 1000 * (single.hi - single.lo)).all())


def test_sums_too_long_for_the_precision_are_refused() -> None:
    model = nn.Linear(600, 2).bfloat16()
    with pytest.raises(Unsupported, match="adds 601 terms"):
        certify(Torch(model, outputs="logits"), torch.rand(1, 600).bfloat16(), torch.zeros(1, dtype=torch.long), Ball(0.1))
