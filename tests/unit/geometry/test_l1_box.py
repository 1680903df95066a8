"""The projection onto an L1 ball and a box at once is the nearest point of both, to the last bit inside, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from torch import Tensor

from vauban.geometry.l1 import L1
from vauban.geometry.l1_box import onto_ball_in_box

CASE = {
    "seed": st.integers(0, 10_000),
    "shape": st.sampled_from([(1,), (5,), (40,), (3, 8, 8), (1, 28, 28)]),
    "box": st.sampled_from([(0.0, 1.0), (-2.1, 2.64), (0.0, 255.0)]),
    "share": st.sampled_from([1e-3, 0.05, 0.3, 2.0]),
    "reach": st.sampled_from([1e-4, 0.1, 1.0, 300.0]),
    "kind": st.sampled_from(["dense", "sparse", "steep", "equal"]),
}


def drawn(seed: int, shape: tuple[int, ...], box: tuple[float, float], share: float, reach: float, kind: str) -> tuple[L1, Tensor, Tensor]:
    """A ball, clean rows (some features on the walls), and changes of several kinds that reach far beyond it."""
    g = torch.Generator().manual_seed(seed)
    lo, hi = box
    u = torch.rand(4, *shape, generator=g)
    x0 = (torch.where(torch.rand(4, *shape, generator=g) < 0.5, u.round(), u) * (hi - lo) + lo).clamp(torch.tensor(lo), torch.tensor(hi))
    d = torch.randn(4, *shape, generator=g)
    if kind == "sparse":
        d = d * (torch.rand(4, *shape, generator=g) < 0.1)
    elif kind == "steep":
        d = d * torch.rand(4, *shape, generator=g) ** 8
    elif kind == "equal":
        d = d.sign()
    eps = share * (hi - lo) * u[0].numel() ** 0.5
    return L1(eps, lo, hi), x0, x0 + d * reach * (hi - lo)


def exact(body: L1, x0: Tensor, x: Tensor) -> Tensor:
    """The projection in float64, its threshold found by a root finder."""
    lower, upper = (b.double().flatten(1) for b in body.limits(x0))
    clean, far = x0.double().flatten(1), x.double().flatten(1)
    rows: list[Tensor] = []
    for c, f, lo, hi in zip(clean, far, lower, upper, strict=True):
        size, room = (f - c).abs(), torch.where(f > c, hi - c, c - lo)

        def kept(t: float, size: Tensor = size, room: Tensor = room) -> Tensor:
            return torch.minimum((size - t).clamp_min(0), room)

        t = 0.0
        if float(kept(0.0).sum()) > body.eps:
            t = brentq(lambda t: float(kept(t).sum()) - body.eps, 0.0, float(size.max()), xtol=1e-14, rtol=8.9e-16)
        rows.append(c + (f - c).sign() * kept(t))
    return torch.stack(rows).view_as(x0)


@given(**CASE)  # type: ignore[arg-type]
@settings(max_examples=80, deadline=None)
def test_it_is_the_nearest_point(
    seed: int, shape: tuple[int, ...], box: tuple[float, float], share: float, reach: float, kind: str
) -> None:
    body, x0, x = drawn(seed, shape, box, share, reach, kind)
    p = onto_ball_in_box(body, x0, x, body.limits(x0))
    truth = exact(body, x0, x)
    # where the threshold is hundreds of radii from 0, float32 does not hold the small difference of two large numbers
    rough = 2e-5 * body.eps + 3e-7 * float((x.abs() + x0.abs()).max())
    assert ((p.double() - truth).abs() <= rough).all()


@given(**CASE)  # type: ignore[arg-type]
@settings(max_examples=50, deadline=None)
def test_it_is_inside_exactly_and_stays(
    seed: int, shape: tuple[int, ...], box: tuple[float, float], share: float, reach: float, kind: str
) -> None:
    body, x0, x = drawn(seed, shape, box, share, reach, kind)
    limits = body.limits(x0)
    p = onto_ball_in_box(body, x0, x, limits)
    assert (body.distance(x0, p) <= body.eps).all()
    assert (body.outside(p, x0) == 0).all()
    assert torch.equal(onto_ball_in_box(body, x0, p, limits), p)
    boxed = x.clamp(*limits)
    inside = body.distance(x0, boxed) < body.eps * (1 - 1e-5)
    assert torch.equal(p[inside], boxed[inside])


@given(**CASE)  # type: ignore[arg-type]
@settings(max_examples=30, deadline=None)
def test_a_row_does_not_feel_its_batch(
    seed: int, shape: tuple[int, ...], box: tuple[float, float], share: float, reach: float, kind: str
) -> None:
    body, x0, x = drawn(seed, shape, box, share, reach, kind)
    together = onto_ball_in_box(body, x0, x, body.limits(x0))
    for i in range(len(x)):
        assert torch.equal(together[i : i + 1], onto_ball_in_box(body, x0[i : i + 1], x[i : i + 1], body.limits(x0[i : i + 1])))


def test_by_hand() -> None:
    """Radius 1, room 0.2 on the first feature: it goes to its wall, and the others share the rest, each 0.1 short of where it was."""
    x0 = torch.tensor([[0.8, 0.5, 0.5]])
    x = torch.tensor([[1.8, 1.0, 0.0]])
    near = L1(1.0).project(x0, x, L1(1.0).limits(x0))
    assert near.tolist()[0] == pytest.approx([1.0, 0.9, 0.1], abs=2e-5)
    away = (x0 + L1(1.0).cut(x - x0, 1.0, 1)).clamp(0, 1)
    assert float((away - x0).abs().sum()) < 0.8, "one after the other gives a part of the radius away"


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.05, 0.4, 1.5]), st.sampled_from([0.1, 1.0, 5.0]))
@settings(max_examples=40, deadline=None)
def test_a_solver_of_quadratic_programs_finds_no_nearer_point(seed: int, n: int, eps: float, reach: float) -> None:
    """Least |x0 + p - q - x|^2 with p and q at least 0, within the room of the box, and summing to at most eps."""
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(1, n, generator=g, dtype=torch.float64)
    x0 = torch.where(torch.rand(1, n, generator=g) < 0.4, u.round(), u)
    x = x0 + reach * torch.randn(1, n, generator=g, dtype=torch.float64)
    body = L1(eps)
    mine = body.project(x0, x, body.limits(x0))
    clean, far = x0[0].numpy(), x[0].numpy()
    side = np.concatenate([np.eye(n), -np.eye(n)], 1)
    found = minimize(
        lambda v: float(((clean + side @ v - far) ** 2).sum()),
        np.zeros(2 * n),
        jac=lambda v: 2 * side.T @ (clean + side @ v - far),
        bounds=[(0.0, r) for r in (*(1 - clean), *clean)],
        constraints=[{"type": "ineq", "fun": lambda v: eps - v.sum(), "jac": lambda v: -np.ones(2 * n)}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    distance = float(((mine - x) ** 2).sum())
    assert distance <= found.fun + 1e-4 * (1 + found.fun)
    assert float((mine - x0).abs().sum()) <= eps
    assert torch.equal(body.project(x0, mine, body.limits(x0)), mine)


def test_leading_dimensions_and_points_inside() -> None:
    body, x0, x = drawn(3, (1, 28, 28), (0.0, 1.0), 0.3, 1.0, "dense")
    limits = body.limits(x0)
    both = body.project(x0, torch.stack([x, x0, x0 + 1e-4]), limits)
    assert torch.equal(both[0], body.project(x0, x, limits))
    assert torch.equal(both[1], x0)
    assert torch.equal(both[2], (x0 + 1e-4).clamp(*limits))


def test_what_may_not_change_does_not() -> None:
    body = L1(0.5, mask=torch.tensor([True, False, True]))
    x0 = torch.tensor([[0.5, 0.5, 0.5]])
    p = onto_ball_in_box(body, x0, torch.tensor([[0.9, 0.9, 0.9]]), body.limits(x0))
    assert p.tolist()[0] == pytest.approx([0.75, 0.5, 0.75], abs=2e-5)
    assert float(p[0, 1]) == 0.5
