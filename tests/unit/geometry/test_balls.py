"""Balls: projection is idempotent and inside to the last bit, distances are in float64, masks and bounds hold for each feature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from vauban.errors import BadPlan
from vauban.geometry import Body, body_of, norms_of_rows, per_row
from vauban.threat import INF, Ball

NORMS = ["linf", "l2", "l1", "l0"]
EPS = {
    "linf": st.sampled_from([8 / 255, 1 / 255, 0.1]) | st.floats(1e-4, 0.999),
    "l2": st.sampled_from([8 / 255, 0.5, 1.0]) | st.floats(0.003, 5),
    "l1": st.sampled_from([8 / 255, 1.0, 12.0]) | st.floats(0.03, 20),
    "l0": st.integers(1, 30).map(float),
}
SHAPES = st.sampled_from([(5,), (40,), (1, 6, 6), (3, 8, 8), (3, 32, 32)])
PAIR = settings(max_examples=60, deadline=None)


def drawn(seed: int, shape: tuple[int, ...], lo: float, hi: float, reach: float, n: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Clean rows in the box, and two changed versions that reach up to `reach` boxes beyond it."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(n, *shape, generator=g) * (hi - lo) + lo).clamp(torch.tensor(lo), torch.tensor(hi))
    return x, *(x + torch.randn(n, *shape, generator=g) * reach * (hi - lo) for _ in range(2))  # type: ignore[return-value]


CASE = {
    "seed": st.integers(0, 10_000),
    "shape": SHAPES,
    "box": st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (-2.1, 2.64), (0.1, 1.1), (0.0, 255.0)]),
    "reach": st.sampled_from([1e-5, 1e-3, 0.1, 1.0, 30.0]),
    "masked": st.booleans(),
    "data": st.data(),
}


@pytest.mark.parametrize("norm", NORMS)
@given(**CASE)  # type: ignore[arg-type]
@PAIR
def test_projection_is_inside_exactly_and_idempotent(
    norm: str, seed: int, shape: tuple[int, ...], box: tuple[float, float], reach: float, masked: bool, data: st.DataObject
) -> None:
    eps = data.draw(EPS[norm])
    lo, hi = box
    count = math.prod(shape)
    mask = None if not masked else [i % 3 != 0 for i in range(count)]
    x, far, _ = drawn(seed, shape, lo, hi, reach)
    body = body_of(Ball(min(eps, count) if norm == "l0" else eps, norm, lo, hi, mask), x)
    limits = body.limits(x)
    p = body.project(x, far, limits)
    assert (body.distance(x, p) <= body.eps).all()
    assert (body.outside(p, x) == 0).all()
    assert torch.equal(body.project(x, p, limits), p), "idempotent, bit for bit"
    assert torch.equal(body.project(x, torch.stack([far, x]), limits)[0], p), "leading dimensions"
    assert torch.equal(body.project(x, x, limits), x), "the clean input stays where it is"
    if mask is not None:
        fixed = ~torch.tensor(mask).view(shape)
        assert torch.equal(p[:, fixed], x[:, fixed])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(**CASE)  # type: ignore[arg-type]
@PAIR
def test_projection_brings_no_two_points_further_apart(
    norm: str, seed: int, shape: tuple[int, ...], box: tuple[float, float], reach: float, masked: bool, data: st.DataObject
) -> None:
    lo, hi = box
    x, a, b = drawn(seed, shape, lo, hi, reach)
    body = body_of(Ball(data.draw(EPS[norm]), norm, lo, hi), x)
    limits = body.limits(x)
    before = (a.double() - b.double()).flatten(1).norm(dim=1)
    after = (body.project(x, a, limits).double() - body.project(x, b, limits).double()).flatten(1).norm(dim=1)
    assert (after <= before * (1 + 1e-5) + 1e-5 * (hi - lo)).all()


@pytest.mark.parametrize("n", [2, 7, 60])
def test_the_l1_projection_is_the_euclidean_one(n: int) -> None:
    """Against the optimality condition, solved by a root finder: |d| shrinks by one number until it sums to the radius."""
    g = torch.Generator().manual_seed(n)
    d, radius = torch.randn(20, n, generator=g, dtype=torch.float64), 0.7
    body = body_of(Ball(radius, "l1", -100, 100), d)
    found = body.cut(d, radius, 1)
    for row, cut in zip(d.numpy(), found.numpy(), strict=True):
        size = np.abs(row)
        if size.sum() <= radius:
            assert np.array_equal(row, cut)
            continue
        theta = brentq(lambda t, size=size: np.clip(size - t, 0, None).sum() - radius, 0, size.max())
        assert np.allclose(cut, np.sign(row) * np.clip(size - theta, 0, None), atol=1e-5)


def test_no_point_of_the_l1_or_l0_ball_is_nearer_than_the_projection() -> None:
    """Brute force in three dimensions."""
    axis = torch.linspace(-1, 1, 61)
    axis[30] = 0
    grid = torch.cartesian_prod(axis, axis, axis)
    x0 = torch.zeros(1, 3)
    for norm, eps in (("l1", 0.5), ("l0", 1.0), ("l0", 2.0), ("l2", 0.5), ("linf", 0.5)):
        body = body_of(Ball(eps, norm, -1, 1), x0)
        inside = grid[body.distance(x0, grid[:, None])[:, 0] <= eps + 1e-6]
        for point in (torch.tensor([[0.9, -0.4, 0.2]]), torch.tensor([[0.3, 0.3, -0.3]]), torch.tensor([[-1.5, 0.1, 0.7]])):
            mine = (body.project(x0, point, body.limits(x0)) - point).norm()
            assert mine <= (inside - point).norm(dim=1).min() + 1e-4, norm


@pytest.mark.parametrize("norm", NORMS)
def test_distance_is_in_float64(norm: str) -> None:
    x = torch.full((1, 1000), 0.5)
    moved = x.clone()
    moved[0, :500] = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    step = 2.0**-24
    exact = {"linf": step, "l2": step * 500**0.5, "l1": step * 500, "l0": 500}[norm]
    d = body_of(Ball(1, norm), x).distance(x, moved)
    assert d.dtype == torch.float64
    assert float(d) == pytest.approx(exact, rel=1e-12)
    many = body_of(Ball(1, norm), x).distance(x, torch.stack([moved, x]))
    assert many.shape == (2, 1)
    assert float(many[1, 0]) == 0


def test_bounds_and_masks_of_each_feature_hold() -> None:
    lo, hi, mask = [0.0, -1.0, 10.0], [1.0, 1.0, 20.0], [True, False, True]
    x = torch.tensor([[0.5, 0.2, 15.0], [0.0, 1.0, 20.0]])
    for norm in NORMS:
        body = body_of(Ball(2, norm, lo, hi, mask), x)
        p = body.project(x, x + 100, body.limits(x))
        assert torch.equal(p[:, 1], x[:, 1])
        assert (p[:, 0] <= 1).all()
        assert (p[:, 2] <= 20).all()
        assert (body.outside(p, x) == 0).all()
        assert body.width == 10
        wrong = x.clone()
        wrong[0, 1] = 0.5
        wrong[1, 2] = 23
        assert body.outside(wrong, x).tolist() == [pytest.approx(0.3), 3]


def test_the_walls_are_where_the_dtype_of_the_inputs_puts_them() -> None:
    """1.1 in float32 lies beyond 1.1 in float64; an input on that wall is inside."""
    x = torch.full((2, 3), 1.1)
    assert float(x[0, 0]) > 1.1
    assert (body_of(Ball(0.1, "l2", 0, 1.1), x).outside(x, x) == 0).all()
    assert (body_of(Ball(0.1, "l2", 0, [1.1] * 3), x).outside(x, x) == 0).all()
    assert (body_of(Ball(0.1, "l2", 0, 1.1), x).outside(torch.nextafter(x, torch.tensor(2.0)), x) > 0).all()


def test_without_a_radius_only_the_box_is_left() -> None:
    x, far, _ = drawn(0, (3, 4, 4), 0, 1, 2.0)
    for norm in NORMS:
        body = body_of(Ball(0.1 if norm != "l0" else 2, norm), x).within(INF)
        assert torch.equal(body.project(x, far, body.limits(x)), far.clamp(0, 1))
        assert body.tolerance == (0 if norm == "l0" else 1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_a_cut_takes_a_radius_for_each_row(norm: str) -> None:
    g = torch.Generator().manual_seed(0)
    d = torch.randn(4, 3, 5, 5, generator=g)
    body = body_of(Ball(5, norm, -99, 99), d)
    radii = torch.tensor([1.0, 2.0, 50.0, INF])
    cut = body.cut(d, radii, 3)
    for i in range(4):
        one = body.cut(d[i : i + 1], float(radii[i]), 3)
        assert torch.allclose(cut[i], one[0], atol=1e-6)
    assert (norms_of_rows(cut, body.p, 3) <= radii + 1e-5).all()
    assert torch.equal(cut[3], d[3])


def test_norms_of_rows_are_numpys() -> None:
    d = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for p in (INF, 2.0, 1.0, 0.0):
        exact = np.array([[np.linalg.norm(r.ravel(), p) for r in pair] for pair in d.numpy()])
        assert np.allclose(norms_of_rows(d, p, 2).numpy(), exact, rtol=1e-5)
    assert per_row(torch.ones(2, 3), d).shape == (2, 3, 1, 1)


def test_a_mask_or_bounds_of_the_wrong_length_are_refused() -> None:
    x = torch.zeros(2, 4)
    for ball, what in (
        (Ball(1, "l2", lo=[0, 0]), "lo has 2 values"),
        (Ball(1, "l2", mask=[True]), "mask: 1 values"),
        (Ball(5, "l0"), "eps = 5 features"),
    ):
        with pytest.raises(BadPlan, match=what):
            body_of(ball, x)


def test_a_body_is_abstract() -> None:
    with pytest.raises(TypeError):
        Body(1.0)  # type: ignore[abstract]
