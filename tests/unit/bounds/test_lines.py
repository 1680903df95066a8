"""Bends lie between their lines, and hand-computed cases come out as computed by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.bounds import certify, network_of
from vauban.bounds.alpha import optimised
from vauban.bounds.bends import Curve, MaxPool, Relu, Smooth
from vauban.bounds.limits import limits_of
from vauban.bounds.linear import lowest
from vauban.bounds.pieces import PROFILES, STEEPEST
from vauban.bounds.region import Region
from vauban.target import Torch
from vauban.threat import Ball

limit = st.floats(-40, 40, allow_nan=False, width=32)
Double = torch.float64


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=Double)[:, None]


def test_the_lines_of_a_relu_are_those_of_the_paper() -> None:
    lines = Relu((0,), (1,), "").relax(column(-1, -3, 1, -2), column(3, 1, 2, -1))
    assert lines.low_slope.flatten().tolist() == [1, 0, 1, 0]
    assert lines.high_slope.flatten().tolist() == [0.75, 0.25, 1, 0]
    assert lines.high_start.flatten().tolist() == [0.75, 0.75, 0, 0]
    assert lines.low_start.flatten().tolist() == [0, 0, 0, 0]


def test_a_chosen_slope_lies_between_the_leak_and_one() -> None:
    lines = Relu((0,), (1,), "", 0.2).relax(column(-1), column(1), torch.tensor([[0.5]], dtype=Double))
    assert lines.low_slope.item() == pytest.approx(0.6)
    assert lines.high_slope.item() == pytest.approx(0.6)
    assert lines.high_start.item() == pytest.approx(0.4)


@settings(max_examples=200, deadline=None)
@given(limit, limit, st.sampled_from(["sigmoid", "tanh", "relu", "leaky", *PROFILES]))
def test_a_bend_lies_between_its_lines(one: float, other: float, kind: str) -> None:
    lo, hi = column(min(one, other)), column(max(one, other))
    leaks = {"relu": 0.0, "leaky": 0.1}
    kind_of = Smooth if kind in PROFILES else Curve
    op = Relu((0,), (1,), "", leaks[kind]) if kind in leaks else kind_of((0,), (1,), "", kind)
    lines = op.relax(lo, hi)
    x = lo + (hi - lo) * torch.linspace(0, 1, 501, dtype=Double)
    value, spare = op(x), 1e-13 * (1 + x.abs())
    assert bool((lines.low_slope * x + lines.low_start <= value + spare).all())
    assert bool((lines.high_slope * x + lines.high_start >= value - spare).all())
    least, most = op.extent(lo, hi)
    assert bool((least <= value + spare).all())
    assert bool((most >= value - spare).all())


@pytest.mark.parametrize("kind", PROFILES)
def test_a_profile_says_what_its_function_does(kind: str) -> None:
    """The derivative is autograd's; it rises on convex pieces and falls on the others; the function is least where it turns."""
    profile = PROFILES[kind]
    x = torch.linspace(-9, 9, 90_001, dtype=Double, requires_grad=True)
    y = profile.f(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    x, y = x.detach(), y.detach()
    torch.testing.assert_close(profile.slope(x), slope, rtol=1e-9, atol=1e-9)
    assert float(slope.abs().max()) < STEEPEST
    assert [a for _, a, _ in profile.pieces[:-1]] == [a for a, _, _ in profile.pieces[1:]]
    for start, end, convex in profile.pieces:
        inside = slope[(x >= start) & (x <= end)]
        assert bool(((inside if convex else -inside).diff() >= -1e-12).all())
    assert profile.turn == -torch.inf or abs(float(x[y.argmin()]) - profile.turn) < 3e-4
    assert profile.turn > -torch.inf or bool((y.diff() >= -1e-15).all())
    if profile.turn > -torch.inf:
        assert bool((y[x <= profile.turn].diff() <= 1e-15).all())
        assert bool((y[x >= profile.turn].diff() >= -1e-15).all())


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize(("lo", "hi"), [(-0.1, 0.1), (-3.0, 2.0), (1.0, 4.0), (-6.0, -2.0), (-1.0, 12.0)])
def test_the_lines_of_a_smooth_function_are_near_it(kind: str, lo: float, hi: float) -> None:
    """Each touches the function somewhere, and between them is no more than a band of straight lines around it must leave."""
    op, x = Smooth((0,), (1,), "", kind), torch.linspace(lo, hi, 2001, dtype=Double)
    lines, value = op.relax(column(lo), column(hi)), op(torch.linspace(lo, hi, 2001, dtype=Double))
    low, high = (lines.low_slope * x + lines.low_start)[0], (lines.high_slope * x + lines.high_start)[0]
    assert float((value - low).min()) < 1e-5
    assert float((high - value).min()) < 1e-5
    chord = value[0] + (value[-1] - value[0]) * (x - lo) / (hi - lo)
    bow = (value - chord).max() - (value - chord).min()  # the narrowest band parallel to the chord
    assert float((high - low).mean()) <= 1.001 * float(bow) + 1e-6


def test_the_lines_of_an_s_touch_it() -> None:
    """Between -2 and 3 the line above a tanh is a tangent, and starts on the curve; from 1 to 2 the line below is the chord."""
    curve = Curve((0,), (1,), "", "tanh")
    crossing = curve.relax(column(-2), column(3))
    start = crossing.high_slope * -2 + crossing.high_start
    assert start.item() == pytest.approx(torch.tanh(torch.tensor(-2.0)).item(), abs=1e-6)
    chord = curve.relax(column(1), column(2))
    for end in (1.0, 2.0):
        assert (chord.low_slope * end + chord.low_start).item() == pytest.approx(torch.tanh(torch.tensor(end)).item(), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.3, 2.0]), st.sampled_from([((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 1))]))
def test_a_maximum_lies_between_its_lines(seed: int, width: float, geometry: tuple) -> None:
    torch.manual_seed(seed)
    middle = torch.randn(2, 3, 5, 6, dtype=Double)
    lo, hi = middle - width * torch.rand_like(middle), middle + width * torch.rand_like(middle)
    shape = tuple(F.max_pool2d(lo, *geometry).shape[1:])
    op = MaxPool((0,), shape, "", *geometry, (1, 1), (3, 5, 6))
    a = torch.randn(7, 1, *shape, dtype=Double)
    through, constant = op.relax(lo, hi).back(a)
    for _ in range(5):
        x = torch.where(torch.rand_like(lo) > 0.5, lo, hi)
        exact = (a * op(x)).flatten(2).sum(2)
        assert bool(((through * x).flatten(2).sum(2) + constant <= exact + 1e-12).all())


def test_a_maximum_that_is_known_is_exact() -> None:
    lo = torch.tensor([[[[5.0, 0.0], [1.0, 2.0]]]], dtype=Double)
    op = MaxPool((0,), (1, 1, 1), "", (2, 2), (2, 2), (0, 0), (1, 1), (1, 2, 2))
    through, constant = op.relax(lo, lo + 2).back(-torch.ones(1, 1, 1, 1, 1, dtype=Double))
    assert through.flatten().tolist() == [-1, 0, 0, 0]
    assert constant.item() == 0


class Fold(nn.Module):
    """relu(x) - relu(-x) = x, written so that bounds do not see it; the second score is 0."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(x) - F.relu(-x)
        return y @ torch.tensor([[1.0, 0.0]], dtype=x.dtype)


def test_two_relus_computed_by_hand() -> None:
    """On [-1, 2]: relu(x) >= x and relu(-x) <= (2 - x) / 3, so crown says 4 x / 3 - 2 / 3 >= -2, intervals say 0 - 1 = -1.

    The best lower line of relu(x) has slope 0: then x / 3 - 2 / 3 >= -1, which is the truth.
    """
    x = torch.tensor([[0.5]], dtype=Double)
    network = network_of(Torch(Fold(), outputs="logits"), x)
    region = Region.box(x, x - 1.5, x + 1.5)
    known = limits_of(network.ops, region, network.rounding, "crown")
    a = torch.tensor([1.0, -1.0], dtype=Double).view(1, 1, 2)
    place = len(network.ops)
    assert lowest(network.ops, known, region, place, a).item() == pytest.approx(-2, abs=1e-6)
    assert lowest(network.ops, known, region, place, a, through=False).item() == pytest.approx(-1, abs=1e-6)
    assert optimised(network.ops, known, region, place, a).item() == pytest.approx(-1, abs=1e-6)
    above = lowest(network.ops, known, region, place, -a)
    assert above.item() == pytest.approx(-2, abs=1e-6)  # relu(x) <= (2 x + 2) / 3, relu(-x) >= 0: at most 2, the truth


def test_one_relu_computed_by_hand() -> None:
    """z0 - z1 = 1 - relu(x) with x in [-1, 1] is at least 0: the chord 1 - (x + 1) / 2 says so at x = 1."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), ([[1.0]], [0.0], [[0.0], [1.0]], [1.0, 0.0]), strict=True):
            parameter.copy_(torch.tensor(values))
    x, y = torch.zeros(1, 1, dtype=Double), torch.zeros(1, dtype=torch.long)
    target = Torch(model, outputs="logits")
    assert certify(target, x, y, Ball(1.0, lo=-2, hi=2)).margin.item() == pytest.approx(0, abs=1e-5)
    assert certify(target, x, y, Ball(0.5, lo=-2, hi=2)).margin.item() == pytest.approx(0.5, abs=1e-5)
