"""The smallest change onto a plane in a box: as linear and quadratic programming find it, on the plane or in the nearest corner, inside the box."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog, minimize
from torch import Tensor

from vauban.attacks.parts.plane import onto_plane
from vauban.geometry import norms_of_rows
from vauban.threat import INF

NORMS = [INF, 2.0, 1.0]
SEED = st.integers(0, 10_000)
SOME = settings(max_examples=40, deadline=None)


def problem(seed: int, n: int, d: int, reach: float = 0.8, levels: int = 0) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Points (2, n, d) in boxes of their own, some features on a wall or without room, and planes at `reach` of what the box can give.

    With `levels`, the weights take so few values that most of them tie.
    """
    g = torch.Generator().manual_seed(seed)
    lower = -torch.rand(n, d, generator=g)
    upper = lower + torch.rand(n, d, generator=g) * 2 * (torch.rand(n, d, generator=g) > 0.1)
    x = lower + (upper - lower) * (torch.rand(2, n, d, generator=g) * 1.4 - 0.2).clamp(0, 1)
    w = torch.randn(n, d, generator=g)
    w = torch.round(w * levels) / levels if levels else w
    up = torch.where(w > 0, upper - x, lower - x)
    down = torch.where(w > 0, lower - x, upper - x)
    share = torch.rand(2, n, generator=g) * reach
    raised = torch.rand(2, n, generator=g) > 0.3
    return x, w, share * torch.where(raised, (w * up).sum(-1), (w * down).sum(-1)), (lower, upper)


def by_programming(x: np.ndarray, w: np.ndarray, lack: float, low: np.ndarray, high: np.ndarray, p: float) -> float:
    """The least norm, by an independent solver in float64."""
    d = len(x)
    if p == INF:  # variables: the change, and its bound t, which is minimised
        rows = np.vstack([np.hstack([np.eye(d), -np.ones((d, 1))]), np.hstack([-np.eye(d), -np.ones((d, 1))])])
        bounds = [*zip(low - x, high - x, strict=True), (0, None)]
        return linprog(np.r_[np.zeros(d), 1], rows, np.zeros(2 * d), np.r_[w, 0][None], [lack], bounds).fun
    if p == 1:  # variables: the parts up and down, which are minimised together
        bounds = [*((0, h) for h in high - x), *((0, h) for h in x - low)]
        return linprog(np.ones(2 * d), A_eq=np.r_[w, -w][None], b_eq=[lack], bounds=bounds).fun
    plane = {"type": "eq", "fun": lambda c: c @ w - lack, "jac": lambda c: w}
    start = np.clip(w * lack / (w @ w), low - x, high - x)
    found = minimize(lambda c: c @ c, start, jac=lambda c: 2 * c, bounds=list(zip(low - x, high - x, strict=True)), constraints=plane,
                     options={"ftol": 1e-14, "maxiter": 500})  # fmt: skip
    return math.sqrt(found.fun)


@pytest.mark.parametrize("p", NORMS)
@given(seed=SEED, d=st.integers(1, 12), levels=st.sampled_from([0, 0, 1]))
@SOME
def test_no_solver_finds_a_smaller_change(p: float, seed: int, d: int, levels: int) -> None:
    x, w, lack, (lower, upper) = problem(seed, 2, d, levels=levels)
    size = norms_of_rows(onto_plane(x, w, lack, (lower, upper), p).double(), p, 1)
    for i in range(2):
        for j in range(2):
            if bool((w[j] * (upper[j] - lower[j]) == 0).all()):
                continue
            least = by_programming(*(t.double().numpy() for t in (x[i, j], w[j], lack[i, j], lower[j], upper[j])), p)
            assert float(size[i, j]) == pytest.approx(least, rel=2e-5, abs=2e-6)


def by_sorting(x: Tensor, w: Tensor, lack: Tensor, limits: tuple[Tensor, Tensor], p: float) -> float:
    """The least norm for one point, in float64: a root of what a level gives; in L1 the greatest gains first."""
    x, w, lower, upper = (t.double().numpy() for t in (x, w, *limits))
    room, gain, need = np.where(w * float(lack) > 0, upper - x, x - lower), np.abs(w), abs(float(lack))
    if p == 1:
        order = np.argsort(-gain, kind="stable")
        before = np.r_[0, np.cumsum((gain * room)[order])[:-1]]
        steep = np.maximum(gain[order], 1e-300)
        return float(np.minimum(room[order], np.maximum(need - before, 0) / steep).sum())
    speed = np.ones_like(gain) if p == INF else gain
    level = brentq(lambda t: (gain * np.minimum(room, t * speed)).sum() - need, 0, 1e6, xtol=1e-15)
    return float(np.linalg.norm(np.minimum(room, level * speed), p))


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("levels", [0, 1, 4])
@pytest.mark.parametrize("reach", [0.001, 0.1, 0.97])
def test_wide_rows_are_solved_as_exactly_as_narrow_ones(p: float, levels: int, reach: float) -> None:
    """784 features, from problems that few of them solve to problems that take nearly all."""
    x, w, lack, limits = problem(5, 6, 784, reach, levels)
    change = onto_plane(x, w, lack, limits, p)
    size = norms_of_rows(change.double(), p, 1)
    assert torch.allclose((change.double() * w.double()).sum(-1), lack.double(), rtol=1e-5, atol=2e-5)
    for i in range(2):
        for j in range(6):
            least = by_sorting(x[i, j], w[j], lack[i, j], (limits[0][j], limits[1][j]), p)
            assert float(size[i, j]) == pytest.approx(least, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("p", NORMS)
@given(seed=SEED, d=st.integers(1, 200), reach=st.sampled_from([0.01, 0.5, 1.0, 3.0]), levels=st.sampled_from([0, 0, 1]))
@SOME
def test_the_change_ends_on_the_plane_or_in_the_nearest_corner_and_never_outside_the_box(
    p: float, seed: int, d: int, reach: float, levels: int
) -> None:
    x, w, lack, (lower, upper) = problem(seed, 3, d, reach, levels)
    change = onto_plane(x, w, lack, (lower, upper), p)
    there = x + change
    assert (there >= lower - 3e-7).all()
    assert (there <= upper + 3e-7).all()
    assert torch.equal(torch.where(w == 0, change, 0.0), torch.zeros_like(x))
    corner = torch.where(lack[..., None] * w > 0, upper, lower)
    most = torch.where(w == 0, 0.0, (corner - x) * w).double().sum(-1)
    given = (change.double() * w.double()).sum(-1)
    target = torch.where(lack.abs() < most.abs(), lack.double(), most)
    assert torch.allclose(given, target, rtol=1e-5, atol=1e-5 * max(d, 10) ** 0.5)


@pytest.mark.parametrize("p", NORMS)
@given(seed=SEED)
@SOME
def test_a_point_on_its_plane_stays_there(p: float, seed: int) -> None:
    x, w, lack, limits = problem(seed, 3, 40)
    once = onto_plane(x, w, lack, limits, p)
    again = onto_plane((x + once).clamp(*limits), w, lack - (once * w).sum(-1), limits, p)
    assert again.abs().max() < 1e-5
    assert torch.equal(onto_plane(x, w, 0 * lack, limits, p), torch.zeros_like(x))


@pytest.mark.parametrize("p", NORMS)
def test_every_point_is_solved_by_itself(p: float) -> None:
    """Rows that need few rounds, many, or cannot be solved at all, alone and together."""
    x, w, lack, limits = problem(3, 8, 300, 1.3)
    together = onto_plane(x, w, lack, limits, p)
    for j in range(8):
        alone = onto_plane(x[1, j : j + 1], w[j : j + 1], lack[1, j : j + 1], (limits[0][j : j + 1], limits[1][j : j + 1]), p)
        assert torch.allclose(alone[0], together[1, j], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e20])
def test_the_length_of_the_normal_does_not_matter(p: float, scale: float) -> None:
    x, w, lack, limits = problem(1, 4, 50)
    assert torch.allclose(onto_plane(x, w * scale, lack * scale, limits, p), onto_plane(x, w, lack, limits, p), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("p", NORMS)
def test_what_is_not_known_changes_nothing_and_what_is_out_of_reach_goes_to_the_corner(p: float) -> None:
    x, lower, upper = torch.full((5, 6), 0.5), torch.zeros(5, 6), torch.ones(5, 6)
    w = torch.arange(-2.0, 4.0).repeat(5, 1)
    w[0] = 0
    change = onto_plane(x, w, torch.tensor([1.0, math.nan, INF, -INF, 1e9]), (lower, upper), p)
    assert torch.equal(change[:2], torch.zeros(2, 6))
    corner = 0.5 * w[1].sign()
    assert torch.allclose(change[2:], torch.stack([corner, -corner, corner]))
    for lack in (0.0, 1.0, -INF):
        assert torch.equal(onto_plane(x, 0 * w, torch.full((5,), lack), (lower, upper), p), torch.zeros(5, 6))


def test_what_little_is_left_is_solved_as_exactly() -> None:
    """Two features with most of the gain have no room; the others, with a thousandth of it, must do."""
    w = torch.tensor([[1.0, -0.8, 0.02, -0.03]])
    x, limits = torch.tensor([[1.0, 0.0, 0.3, 0.9]]), (torch.zeros(1, 4), torch.ones(1, 4))
    for p, change in ((INF, [0, 0, 0.2, -0.2]), (2.0, [0, 0, 2 / 13, -3 / 13]), (1.0, [0, 0, 0, -1 / 3])):
        assert torch.allclose(onto_plane(x, w, torch.tensor([0.01]), limits, p), torch.tensor([change]), rtol=2e-6, atol=1e-7)


def test_by_hand() -> None:
    """<w, x> = 2 a + b + c is to rise by 1.2 from a = 0.8, b = 0.5, c = 0: a has room for 0.2 only."""
    x, w, limits = torch.tensor([[0.8, 0.5, 0.0]]), torch.tensor([[2.0, 1.0, 1.0]]), (torch.zeros(1, 3), torch.ones(1, 3))
    lack = torch.tensor([1.2])
    assert torch.allclose(onto_plane(x, w, lack, limits, INF), torch.tensor([[0.2, 0.4, 0.4]]))
    assert torch.allclose(onto_plane(x, w, lack, limits, 2.0), torch.tensor([[0.2, 0.4, 0.4]]))
    one = onto_plane(x, w, lack, limits, 1.0)
    assert float(one.sum()) == pytest.approx(1.0)
    assert float(one[0, 0]) == pytest.approx(0.2)
    down = onto_plane(x, w, -lack, limits, 2.0)
    assert torch.allclose(down, torch.tensor([[-0.48, -0.24, 0.0]]))
