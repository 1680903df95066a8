"""The steepest step: of all changes of a norm, the one that raises a linear function most, by brute force and in closed form."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from vauban.geometry import body_of, norms_of_rows
from vauban.threat import INF, Ball

G = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1.0), ("l2", 2.0), ("l1", INF)])
@pytest.mark.parametrize("size", [1.0, 0.3, torch.tensor([0.1, 0.2, 0.3, 1.0, 2.0, 3.0])])
def test_it_reaches_the_dual_norm(norm: str, dual: float, size: float | Tensor) -> None:
    body = body_of(Ball(1, norm), G)
    d = body.steepest(G, size)
    assert torch.allclose(norms_of_rows(d, body.p, 1), torch.as_tensor(size).expand(6), rtol=1e-5)
    assert torch.allclose((d * G).sum(1), norms_of_rows(G, dual, 1) * size, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_in_l0_it_is_the_best_of_all_choices_of_features(count: int) -> None:
    body = body_of(Ball(1, "l0"), G)
    at = torch.rand(6, 8, generator=torch.Generator().manual_seed(3))
    d = body.steepest(G, float(count), (at, 1 - at))
    assert ((d != 0).sum(1) <= count).all()
    gain = torch.where(G > 0, G * (1 - at), -G * at)
    best = torch.stack([gain[:, list(c)].sum(1) for c in itertools.combinations(range(8), count)]).amax(0)
    assert torch.allclose((d * G).sum(1), best)
    assert ((at + d >= 0) & (at + d <= 1)).all()


@given(st.integers(0, 1000), st.floats(0.05, 4))
@settings(max_examples=40, deadline=None)
def test_in_l1_with_walls_it_is_the_optimum_of_the_linear_programme(seed: int, size: float) -> None:
    g = torch.Generator().manual_seed(seed)
    gradient, at = torch.randn(1, 5, generator=g), torch.rand(1, 5, generator=g)
    d = body_of(Ball(1, "l1"), at).steepest(gradient, size, (at, 1 - at))
    assert float(d.abs().sum()) <= size + 1e-5
    assert ((at + d >= -1e-6) & (at + d <= 1 + 1e-6)).all()
    up, down, c = (1 - at[0]).tolist(), at[0].tolist(), gradient[0].tolist()
    best = linprog([-v for v in c] + c, A_ub=[[1] * 10], b_ub=[size], bounds=[(0, v) for v in up + down])
    assert float((d * gradient).sum()) == pytest.approx(-best.fun, abs=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_it_is_zero_where_the_gradient_is(norm: str) -> None:
    body = body_of(Ball(1, norm), G)
    room = (torch.ones_like(G), torch.ones_like(G)) if norm in ("l1", "l0") else None
    assert (body.steepest(torch.zeros_like(G), 1.0, room) == 0).all()
    mixed = G.clone()
    mixed[2] = 0
    assert (body.steepest(mixed, 2.0, room)[2] == 0).all()
    assert torch.allclose(body.steepest(mixed, 2.0, room)[3], body.steepest(G, 2.0, room)[3]), "rows do not couple"


def test_tiny_gradients_keep_their_direction() -> None:
    """Squares of 1e-25 vanish in float32."""
    tiny = G * 1e-30
    for norm in ("l2", "linf", "l1"):
        body = body_of(Ball(1, norm), G)
        assert torch.allclose(body.steepest(tiny, 1.0), body.steepest(G, 1.0), atol=1e-5)
