"""Of a linear model the margin is exact for every norm, with the box and the mask, and the certified radius is the distance."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import Tensor, nn

from vauban.bounds import certified_radius, certify
from vauban.bounds import region as region_module
from vauban.bounds.limits import LEVELS
from vauban.bounds.region import Region
from vauban.geometry import body_of
from vauban.target import Torch
from vauban.threat import INF, Ball

Double = torch.float64
DUAL = {"linf": 1.0, "l2": 2.0, "l1": INF}


def linear(seed: int = 0, features: int = 6) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(seed)
    model = nn.Linear(features, 4).double()
    x = torch.rand(5, features, dtype=Double)
    return model, x, model(x).argmax(1)


def slopes(model: nn.Linear, y: Tensor) -> Tensor:
    """The gradients of z_y - z_j, (rows, 4, features)."""
    return (model.weight[y][:, None] - model.weight[None]).detach()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("norm", DUAL)
def test_without_a_box_the_margin_falls_by_the_dual_norm(norm: str, level: str) -> None:
    model, x, y = linear()
    a, z = slopes(model, y), model(x).detach()
    gaps = z.gather(1, y[:, None]) - z - 0.1 * torch.linalg.vector_norm(a, ord=DUAL[norm], dim=2)
    truth = gaps.scatter(1, y[:, None], INF).amin(1)
    found = certify(Torch(model, outputs="logits"), x, y, Ball(0.1, norm, lo=-9, hi=9), level=level)  # type: ignore[arg-type]
    # the radius is widened by a millionth, and by 1e-7 of the range of 18, for what the judge forgives
    torch.testing.assert_close(found.margin, truth, rtol=0, atol=2e-5)
    assert bool((found.margin <= truth).all())


def least(norm: str, a: Tensor, x: Tensor, eps: float) -> float:
    """The least of a.d over the ball in the box [0, 1], by a solver that knows nothing of duality."""
    n, low, high = len(a), (-x).tolist(), (1 - x).tolist()
    if norm == "l1":
        c = torch.cat([a, -a]).tolist()  # d = p - q
        bounds = [(0, h) for h in high] + [(0, -low_) for low_ in low]
        return float(linprog(c, A_ub=[[1.0] * (2 * n)], b_ub=[eps], bounds=bounds).fun)
    if norm == "l0":
        gain = torch.where(a > 0, a * x, -a * (1 - x))
        return -max(float(gain[list(some)].sum()) for some in itertools.combinations(range(n), int(eps)))
    direction = a.numpy()
    ball = {"type": "ineq", "fun": lambda d: eps**2 - d @ d, "jac": lambda d: -2 * d}
    start = (-a / a.norm() * 1e-3).numpy()
    found = minimize(
        lambda d: d @ direction,
        start,
        jac=lambda d: direction,
        bounds=list(zip(low, high, strict=True)),
        constraints=[ball],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    )
    return float(found.fun)


@pytest.mark.parametrize(
    ("norm", "eps"), [("l2", 0.3), ("l2", 0.9), ("l2", 3.0), ("l1", 0.2), ("l1", 1.5), ("l1", 9.0), ("l0", 2), ("l0", 6)]
)
def test_the_least_over_ball_and_box_is_what_a_solver_finds(norm: str, eps: float) -> None:
    torch.manual_seed(1)
    x, a = torch.rand(4, 6, dtype=Double), torch.randn(3, 4, 6, dtype=Double)
    x[0] = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5, 0.0])
    region = Region.of(body_of(Ball(eps, norm), x), x, torch.full((4,), float(eps), dtype=Double))
    found = region.lowest(a)
    for s, n in itertools.product(range(3), range(4)):
        truth = float(a[s, n] @ x[n]) + least(norm, a[s, n], x[n], eps)
        assert found[s, n] <= truth + 1e-9
        assert found[s, n] >= truth - (2e-3 if norm == "l2" else 1e-5)


def test_features_off_the_mask_do_not_move() -> None:
    model, x, y = linear()
    mask = [True, False, True, False, False, True]
    a, z = slopes(model, y)[:, :, mask], model(x).detach()
    truth = (z.gather(1, y[:, None]) - z - 0.1 * a.abs().sum(2)).scatter(1, y[:, None], INF).amin(1)
    found = certify(Torch(model, outputs="logits"), x, y, Ball(0.1, lo=-9, hi=9, mask=mask), level="interval")
    torch.testing.assert_close(found.margin, truth, rtol=0, atol=2e-5)


def test_without_a_radius_the_box_is_all_there_is() -> None:
    model, x, y = linear()
    a, b = slopes(model, y), (model.bias[y][:, None] - model.bias[None]).detach()
    truth = (b + a.clamp_max(0).sum(2)).scatter(1, y[:, None], INF).amin(1)
    for norm in ("linf", "l2"):
        found = certify(Torch(model, outputs="logits"), x, y, Ball(INF, norm))
        torch.testing.assert_close(found.margin, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", DUAL)
def test_the_radius_of_a_linear_model_is_the_distance(norm: str) -> None:
    model, x, y = linear()
    a, z = slopes(model, y), model(x).detach()
    gaps = (z.gather(1, y[:, None]) - z) / torch.linalg.vector_norm(a, ord=DUAL[norm], dim=2).clamp_min(1e-12)
    truth = gaps.scatter(1, y[:, None], INF).amin(1)
    ball = Ball(float(truth.max()) * 0.9, norm, lo=-9, hi=9)
    found = certified_radius(Torch(model, outputs="logits"), x, y, ball, steps=14)
    assert bool((found <= truth).all())
    torch.testing.assert_close(found, truth.clamp_max(ball.eps), rtol=0, atol=ball.eps * 2.0**-14 + 1e-5)


def test_what_is_wrong_as_it_is_has_no_radius() -> None:
    model, x, y = linear()
    target = Torch(model, outputs="logits")
    assert certified_radius(target, x, (y + 1) % 4, Ball(0.1)).tolist() == [0] * 5
    assert not certify(target, x, (y + 1) % 4, Ball(0.001)).certified.any()


def test_a_batch_norm_between_layers_costs_nothing() -> None:
    """Two linear maps and a batch norm are one linear map: bounds through them are as tight as of the product."""
    torch.manual_seed(2)
    norm = nn.BatchNorm1d(5)
    model = nn.Sequential(nn.Linear(6, 5), norm, nn.Linear(5, 4)).double().eval()
    norm.running_mean.normal_()  # type: ignore[union-attr]
    norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    x = torch.rand(5, 6, dtype=Double)
    with torch.no_grad():
        offset = model(torch.zeros(1, 6, dtype=Double))
        whole = nn.Linear(6, 4).double()
        whole.weight.copy_((model(torch.eye(6, dtype=Double)) - offset).T)
        whole.bias.copy_(offset[0])
        y = model(x).argmax(1)
    one, other = (certify(Torch(m, outputs="logits"), x, y, Ball(0.05)).margin for m in (model, whole))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("turns", [1, 4])
def test_the_least_over_a_euclidean_ball_is_never_too_high(monkeypatch, turns: int) -> None:
    """With rooms and coefficients of all sizes the price has not settled after a turn: what is found must still be a lower bound."""
    monkeypatch.setattr(region_module, "NARROWINGS", turns)
    torch.manual_seed(0)
    x = torch.rand(40, 300, dtype=Double) ** 12
    a = torch.randn(1, 40, 300, dtype=Double).exp() ** 3
    eps = torch.full((40,), 0.3, dtype=Double)
    region = Region.of(body_of(Ball(0.3, "l2"), x), x, eps)
    room = x - region.lo
    low, high = torch.zeros(40, 1, dtype=Double), torch.full((40, 1), 1e12, dtype=Double)
    for _ in range(400):  # the price at which the norm of the change is the radius; a change at any higher price is allowed
        price = (low + high) / 2
        over = torch.minimum(a[0] / price, room).norm(dim=1, keepdim=True) > region.eps[:, None]
        low, high = torch.where(over, price, low), torch.where(over, high, price)
    reached = (a[0] * (x - torch.minimum(a[0] / high, room))).sum(1)
    found = region.lowest(a)[0]
    assert bool((found <= reached + 1e-9 * reached.abs()).all())
