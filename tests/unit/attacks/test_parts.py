"""The small parts that attacks share."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from spine import Table, attacking, siege

from vauban.attacks.parts.adam import adam_step
from vauban.attacks.parts.box import around, from_tanh
from vauban.attacks.parts.losses import LOSSES, cross_entropy, dlr, margin, probability_margin
from vauban.attacks.parts.select import cosine, pick
from vauban.attacks.parts.starts import random_change, random_start, start_of
from vauban.doors import Aim, Rows
from vauban.threat import Ball, Goal


def aim(goal: Goal, y: torch.Tensor, k: int) -> Aim:
    return Aim.of_goal(goal, y, k, None, torch.arange(len(y)))


def scores(k: int, n: int = 50, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=g) * 3, torch.randint(1, k, (n,), generator=g)


GOALS = [Goal(), Goal(wanted=0)]


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("goal", GOALS, ids=["untargeted", "wanted"])
@given(shift=st.floats(-10, 10), scale=st.floats(0.1, 10), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_dlr_does_not_feel_shift_nor_scale(goal: Goal, k: int, shift: float, scale: float, seed: int) -> None:
    """With two classes there is nothing to scale by, and it is the margin, which scales along."""
    z, y = scores(k, seed=seed)
    a = aim(goal, y, k)
    before, after = dlr(a, z), dlr(a, z * scale + shift)
    assert torch.allclose(after, before * (scale if k == 2 else 1), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("goal", GOALS, ids=["untargeted", "wanted"])
def test_margin_and_dlr_are_positive_exactly_when_the_goal_is_met(goal: Goal, k: int) -> None:
    z, y = scores(k, 300)
    a = aim(goal, y, k)
    met = (z.argmax(1) != y) if goal.untargeted else (z.argmax(1) == 0)
    assert torch.equal(margin(a, z) > 0, met)
    assert torch.equal(probability_margin(a, z) > 0, met)
    if goal.untargeted:
        assert torch.equal(dlr(a, z) > 0, met)


def test_dlr_is_the_papers() -> None:
    z, y = torch.tensor([[3.0, 1.0, 0.0, -1.0], [1.0, 5.0, 2.0, 0.0]]), torch.tensor([0, 2])
    assert torch.allclose(dlr(aim(Goal(), y, 4), z), torch.tensor([-(3.0 - 1) / (3 - 0), -(2.0 - 5) / (5 - 1)]))
    towards = aim(Goal(wanted=1), y, 4)
    assert torch.allclose(dlr(towards, z), torch.tensor([-(3.0 - 1) / (3 - (0 - 1) / 2), -(2.0 - 5) / (5 - (1 + 0) / 2)]))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("goal", GOALS, ids=["untargeted", "wanted"])
def test_every_objective_is_to_be_raised(name: str, goal: Goal) -> None:
    """A small step up its gradient raises it, and but for DLR, which may also lower the scale, the margin."""
    z, y = scores(5, 200)
    a = aim(goal, y, 5)
    leaf = z.clone().requires_grad_()
    gradient = torch.autograd.grad(LOSSES[name](a, leaf).sum(), leaf)[0]
    stepped = z + 1e-2 * gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
    assert (LOSSES[name](a, stepped) >= LOSSES[name](a, z) - 1e-6).float().mean() > 0.95, "but where the runner-up changes"
    assert name == "dlr" or (margin(a, stepped) >= margin(a, z) - 1e-6).float().mean() > 0.95
    assert torch.equal(LOSSES[name](a, z)[3:4], LOSSES[name](aim(goal, y[3:4], 5), z[3:4])), "row by row"


def test_cross_entropy_of_a_wanted_class_has_the_other_sign() -> None:
    z, y = scores(4)
    assert torch.allclose(cross_entropy(aim(Goal(), y, 4), z), -z.log_softmax(1).gather(1, y[:, None])[:, 0])
    assert torch.allclose(cross_entropy(aim(Goal(wanted=0), y, 4), z), z.log_softmax(1)[:, 0])


def test_adam_is_torchs_row_by_row_and_may_start_anew() -> None:
    g = torch.Generator().manual_seed(0)
    w = torch.randn(3, 4, generator=g)
    gradients = torch.randn(6, 3, 4, generator=g)
    s = Rows(m=torch.zeros(3, 4), v=torch.zeros(3, 4), age=torch.zeros(3))
    mine, theirs = w.clone(), w.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.1)
    for gradient in gradients:
        mine = mine + adam_step(s, gradient, 0.1)
        theirs.grad = gradient.clone()
        optimiser.step()
    assert torch.allclose(mine, theirs, atol=1e-5)
    s.m, s.v = (
        pick(torch.tensor([False, True, False]), torch.zeros(3, 4), s.m),
        pick(torch.tensor([False, True, False]), torch.zeros(3, 4), s.v),
    )
    s.age = torch.tensor([6.0, 0.0, 6.0])
    step = adam_step(s, gradients[0], 0.1)
    assert torch.allclose(step[1], -0.1 * gradients[0, 1].sign(), atol=1e-4), "a first step has the length of the rate"


@given(st.floats(-5, 5), st.floats(0.1, 10), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_the_change_of_variable_keeps_the_box_and_comes_back(lo: float, width: float, seed: int) -> None:
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)) * width + lo
    lower, upper = torch.full_like(x, lo), torch.full_like(x, lo + width)
    x[0, 0], x[0, 1] = lo, lo + width
    w, middle, half = around(x, (lower, upper))
    back, slope = from_tanh(w, middle, half, (lower, upper))
    assert torch.allclose(back, x, atol=1e-6 * (abs(lo) + width)), "the clean input itself, also on the wall"
    far, _ = from_tanh(w + 100, middle, half, (lower, upper))
    assert torch.allclose(far, upper, atol=2e-3 * width)
    assert (far <= upper).all()
    beyond = (lower - 9 * width, upper + 9 * width)  # without the walls, for a derivative from both sides
    h = 1e-2
    numeric = (from_tanh(w + h, middle, half, beyond)[0] - from_tanh(w - h, middle, half, beyond)[0]).double() / (2 * h)
    assert torch.allclose(slope.double(), numeric, atol=1e-3 * width + 1e-3 * abs(lo))


def test_the_cosine_falls_from_first_to_last() -> None:
    values = [cosine(i, 10, 1.0, 0.1) for i in range(11)]
    assert values[0] == 1
    assert values[-1] == pytest.approx(0.1)
    assert values == sorted(values, reverse=True)
    assert cosine(5, 10, 1.0, 0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.4), ("l1", 0.5), ("l0", 7)])
def test_random_starts_fill_the_ball_and_nothing_else(norm: str, eps: float) -> None:
    n = 300
    x, y = torch.full((n, 2, 5), 0.5), torch.zeros(n, dtype=torch.long)
    o = siege(Table(2), Ball(eps, norm), x=x, y=y)
    with attacking(o):
        v = random_start(o)
        d = o.ball.distance(o.x, v)
        assert (d <= eps).all()
        other = random_start(o)
        assert (v != other).flatten(1).any(1).all(), "every start is new"
        if norm == "linf":
            assert stats.kstest((v - o.x).flatten().numpy() / eps / 2 + 0.5, "uniform").pvalue > 1e-4
        elif norm == "l0":
            assert (d == 7).all()
            assert abs(float(((v - o.x) != 0).float().mean(0).std())) < 0.05, "no feature is preferred"
        else:
            assert stats.kstest((d / eps).numpy() ** 10, "uniform").pvalue > 1e-4, (
                "uniform in volume: the radius to the power of the dimension"
            )
            assert abs(float((v - o.x).mean())) < 0.01
        assert torch.equal(start_of(o, "clean"), o.x)
        if norm != "l0":
            surface = random_change(o, eps, surface=True)
            assert torch.allclose(
                o.ball.distance(torch.zeros_like(surface), surface), torch.full((n,), eps, dtype=torch.float64), rtol=1e-5
            )
    assert math.isfinite(float(v.sum()))
