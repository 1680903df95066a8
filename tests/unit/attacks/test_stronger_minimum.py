"""ALMA, SuperDeepFool and sigma-zero where the smallest change has a closed form, or a grid knows it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import attacking, siege
from torch import Tensor, nn

from vauban.attacks import ATTACKS, deepfool, sigma_zero, super_deepfool
from vauban.attacks.evasion.minimum.alma import first_rate, lead_ratio, penalty_slope, size_slope
from vauban.attacks.parts.select import cosine
from vauban.doors import Aim, Oracle
from vauban.target import Torch
from vauban.threat import INF, Ball, Goal, Threat

DUAL = {"l2": 2.0, "l1": INF}


class Linear(nn.Module):
    """Scores W (x - 1/2), times a scale, plus a constant."""

    def __init__(self, w: Tensor, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.w, self.scale, self.shift = nn.Parameter(w), scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - 0.5) @ self.w.T * self.scale + self.shift


def nearest(model: nn.Module, x: Tensor, y: Tensor, norm: str, goal: Goal | None = None, ball: Ball | None = None, **of: object) -> Oracle:
    """The oracle after the attack `name` has looked for the nearest examples."""
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", ball or Ball(INF, norm), goal=goal or Goal()), settle="nearest")
    ATTACKS[str(of.pop("name"))].bind(**of)(o)
    return o


def ten_classes(scale: float = 1.0, classes: int = 10) -> tuple[Linear, Tensor, Tensor]:
    i, j = torch.meshgrid(torch.arange(float(classes)), torch.arange(30.0), indexing="ij")
    model = Linear(torch.sin(1 + 1.3 * i * j + 0.7 * j + 2.1 * i), scale)
    x = torch.rand(20, 30, generator=torch.Generator().manual_seed(4)) * 0.4 + 0.3
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize(
    ("name", "norm", "settings_", "factor"),
    [
        ("alma", "l2", {"steps": 1000}, 1.01),
        ("alma", "l2", {"steps": 100}, 1.05),
        ("alma", "l1", {"steps": 1000}, 1.2),
        ("super-deepfool", "l2", {}, 1.005),
    ],
)
def test_the_smallest_change_of_a_linear_model_is_found(name: str, norm: str, settings_: dict[str, int], factor: float) -> None:
    model, x, y = ten_classes()
    w, z = model.w.detach().double(), model(x).detach().double()
    distance = (z.gather(1, y[:, None]) - z) / torch.linalg.vector_norm(w[y][:, None] - w[None], ord=DUAL[norm], dim=2)
    distance[torch.arange(20), y] = INF
    best, d = distance.amin(1), nearest(model, x, y, norm, name=name, **settings_).outcome.distance
    assert (d >= best * (1 - 1e-5)).all(), "nothing beats the geometry"
    assert float((d / best).sort().values[18]) <= factor


@pytest.mark.parametrize(("name", "norm"), [("alma", "l2"), ("alma", "l1"), ("super-deepfool", "l2"), ("sigma-zero", "l0")])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("goal", [Goal(), Goal(wanted=1)], ids=["untargeted", "wanted"])
def test_the_scale_of_the_scores_changes_nothing(name: str, norm: str, classes: int, goal: Goal) -> None:
    found = []
    for scale in (2.0**-7, 1.0, 2.0**9):
        model, x, y = ten_classes(scale, classes)
        found.append(nearest(model, x, y, norm, goal, name=name, steps=60).outcome)
    reached = found[1].nearest & found[1].attacked
    assert reached[found[1].attacked].double().mean() > 0.8
    for other in (found[0], found[2]):
        assert torch.allclose(other.distance[reached], found[1].distance[reached], rtol=1e-4)


def test_a_wanted_class_is_the_one_that_is_reached() -> None:
    model, x, y = ten_classes()
    for name, norm in (("alma", "l2"), ("alma", "l1"), ("super-deepfool", "l2"), ("sigma-zero", "l0")):
        r = nearest(model, x, y, norm, Goal(wanted=3), name=name, steps=200).outcome
        assert r.broken[r.eligible].double().mean() > 0.9, name
        assert (model(r.best[r.broken]).argmax(1) == 3).all()


# ---- ALMA ---------------------------------------------------------------------------------------------------------------------------------


@given(st.floats(-5, 5), st.floats(0.01, 50), st.floats(1e-4, 50))
@settings(max_examples=60, deadline=None)
def test_the_penaltys_slope_is_its_derivative_and_has_no_step_at_zero(y: float, rho: float, mu: float) -> None:
    y_, r, m = (torch.tensor([v], dtype=torch.float64) for v in (y, rho, mu))
    y_.requires_grad_()
    p2 = m * y_ + m * r * y_**2 + r**2 * y_**3 / 6 if y >= 0 else m * y_ / (1 - r * y_)
    assert torch.allclose(penalty_slope(y_.detach(), r, m), torch.autograd.grad(p2.sum(), y_)[0], rtol=1e-9)
    at = [penalty_slope(torch.tensor([s * 1e-12], dtype=torch.float64), r, m) for s in (-1, 0, 1)]
    assert torch.allclose(at[0], at[1], rtol=1e-8)
    assert torch.allclose(at[2], m, rtol=1e-8), "at the boundary the slope is the multiplier"


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_first_step_has_its_length_also_along_the_walls(norm: str) -> None:
    g = torch.Generator().manual_seed(0)
    x, down = torch.rand(50, 30, generator=g), torch.randn(50, 30, generator=g)
    x = torch.where(x < 0.4, 0.0, x)
    o = siege(Linear(torch.ones(2, 30)), Ball(0.5, norm), x=x, y=torch.zeros(50, dtype=torch.long))
    with attacking(o, minimal=True):
        rate = first_rate(o, down, 0.1)
        assert torch.allclose(
            o.ball.distance(o.x, o.project(o.x - rate[:, None] * down)), torch.tensor(0.1, dtype=torch.float64), rtol=1e-3
        )
        held = first_rate(o, torch.where(x == 0, 1.0, 0.0), 0.1)
        assert torch.isfinite(held).all(), "where every way is closed it is only large"


def test_sizes_have_the_slopes_of_their_norms() -> None:
    d = torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(size_slope(d, 2.0), torch.tensor([[0.6, -0.8, 0.0], [0.0, 0.0, 0.0]]))
    assert torch.equal(size_slope(d, 1.0), torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]))


@given(st.integers(2, 6), st.integers(0, 1000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_ratio_is_positive_exactly_where_the_goal_is_met(classes: int, seed: int, untargeted: bool) -> None:
    g = torch.Generator().manual_seed(seed)
    z, y = torch.randn(40, classes, generator=g), torch.randint(1, classes, (40,), generator=g)
    aim = Aim.of_goal(Goal() if untargeted else Goal(wanted=0), y, classes, None, torch.arange(40))
    assert torch.equal(lead_ratio(aim, z) > 0, z.argmax(1) != y if untargeted else z.argmax(1) == 0)


# ---- SuperDeepFool ------------------------------------------------------------------------------------------------------------------------


class Ellipse(nn.Module):
    """Class 1 outside an ellipse around the middle."""

    def forward(self, x: Tensor) -> Tensor:
        out = ((x - 0.5) / torch.tensor([0.45, 0.2])).square().sum(1) - 1
        return torch.stack([-out, out], 1)


def test_super_deepfool_ends_normal_to_a_curved_boundary_where_deepfool_does_not() -> None:
    x = 0.5 + 0.2 * (torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * torch.tensor([1.5, 0.9])
    y = torch.zeros(40, dtype=torch.long)
    t = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    edge = 0.5 + torch.stack([0.45 * t.cos(), 0.2 * t.sin()], 1)
    best = torch.stack([(edge - row).norm(dim=1).min() for row in x.double()])
    ours = nearest(Ellipse(), x, y, "l2", name="super-deepfool").outcome.distance
    plain = nearest(Ellipse(), x, y, "l2", name="deepfool", overshoot=0.0).outcome.distance
    assert (ours >= best * (1 - 1e-4)).all()
    assert float((ours / best).median()) < 1.01
    assert float((ours / best).mean()) < float((plain / best).mean())
    assert float((plain / best).max()) > 1.03, "a shape on which DeepFool misses"


def test_super_deepfool_goes_around_the_walls_of_the_box() -> None:
    """The steepest feature is at its wall: the smallest change uses the others, and its length is known."""
    w = torch.tensor([[0.0, 0.0, 0.0], [5.0, 1.0, 2.0]])
    x = torch.tensor([[1.0, 0.3, 0.3]])

    class Shifted(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) - torch.tensor([0.0, 3.0])

    lack = float(3 - (5 * 0.5 - 0.2 - 0.4))
    r = nearest(Shifted(w), x, torch.tensor([0]), "l2", name="super-deepfool").outcome
    assert float(r.distance[0]) == pytest.approx(lack / math.sqrt(5), rel=2e-3)
    o = Oracle(Torch(Shifted(w), outputs="logits"), x, torch.tensor([0]), Threat("t", Ball(INF, "l2")), settle="nearest")
    deepfool(o, steps=3)
    assert float(o.outcome.distance[0]) > float(r.distance[0])


def test_the_search_by_halves_comes_to_the_boundary_itself() -> None:
    model, x, y = ten_classes()
    far = nearest(model, x, y, "l2", name="super-deepfool", overshoot=0.5, halvings=1).outcome.distance
    near = nearest(model, x, y, "l2", name="super-deepfool", overshoot=0.5, halvings=14).outcome.distance
    assert (near <= far + 1e-9).all()
    assert float((far / near).median()) > 1.1
    exact = nearest(model, x, y, "l2", name="super-deepfool", overshoot=0.0, halvings=14).outcome.distance
    assert torch.allclose(near, exact, rtol=1e-3, atol=1e-4)


# ---- sigma-zero ---------------------------------------------------------------------------------------------------------------------------


def test_sigma_zero_finds_the_fewest_features() -> None:
    """By exhaustive search over all sets of features of a linear model, each moved to the wall that helps most."""
    g = torch.Generator().manual_seed(2)
    w, x = torch.randn(2, 8, generator=g), torch.rand(30, 8, generator=g)
    model = Linear(w)
    z = model(x)
    y = z.argmax(1)
    side = torch.where(y == 0, 1.0, -1.0)[:, None] * (w[1] - w[0])
    gain = torch.where(side > 0, side * (1 - x), -side * x)
    lack = (z.max(1).values - z.min(1).values)[:, None]
    fewest = (gain.sort(1, descending=True).values.cumsum(1) <= lack).sum(1) + 1
    possible = fewest <= 8
    d = nearest(model, x, y, "l0", name="sigma-zero", steps=500).outcome.distance
    assert (d >= fewest.double()).all()
    assert (d[possible] == fewest[possible]).double().mean() >= 0.9
    assert int(possible.sum()) >= 25


def test_sigma_zeros_threshold_rises_after_success_and_falls_after_failure() -> None:
    """No change that is asked about lies between nothing and the threshold, which the answers so far determine; some lie just above."""

    class Kept(Linear):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(x.detach().clone())
            return super().forward(x)

    asked: list[Tensor] = []
    g = torch.Generator().manual_seed(7)
    w, x = torch.randn(3, 40, generator=g), torch.rand(10, 40, generator=g)
    y = Linear(w)(x).argmax(1)
    o = Oracle(Torch(Kept(w), outputs="logits"), x, y, Threat("t", Ball(40, "l0")), settle="nearest")
    asked.clear()
    sigma_zero(o, steps=80, shift=0.03)
    least, close = torch.full((10,), 0.3), 0
    for i, (now, then) in enumerate(itertools.pairwise(asked)):
        won = Linear(w)(now).argmax(1) != y
        least = (least + torch.where(won, 1, -1) * 0.03 * cosine(i, 80, 1.0, 0.1)).clamp(0, 1)
        d = (then - x).abs()
        assert ((d == 0) | (d >= least[:, None] - 1e-5)).all()
        close += int(((d > 0) & (d < least[:, None] + 0.05)).sum())
    assert close > 20


def test_sigma_zero_does_not_feel_the_units_of_a_feature() -> None:
    """Features in thousands and in thousandths, as tables have them; powers of two, so that rounding is the same."""
    g = torch.Generator().manual_seed(3)
    w, x = torch.randn(3, 12, generator=g), torch.rand(15, 12, generator=g)
    units = 2.0 ** torch.tensor([10, -10, 3, 0, -4, 7, 0, 1, -9, 2, 0, 5]).float()

    class InUnits(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x / units)

    y = Linear(w)(x).argmax(1)
    plain = nearest(Linear(w), x, y, "l0", name="sigma-zero", steps=100).outcome
    ball = Ball(12, "l0", lo=[0.0] * 12, hi=units.tolist())
    scaled = nearest(InUnits(w), x * units, y, "l0", ball=ball, name="sigma-zero", steps=100).outcome
    assert torch.equal(plain.distance, scaled.distance)
    assert torch.allclose(plain.best, scaled.best / units)


def test_sigma_zero_leaves_what_may_not_change() -> None:
    g = torch.Generator().manual_seed(4)
    w, x = torch.randn(2, 10, generator=g), torch.rand(10, 10, generator=g)
    mask = tuple(i % 2 == 0 for i in range(10))
    y = Linear(w)(x).argmax(1)
    o = Oracle(Torch(Linear(w), outputs="logits"), x, y, Threat("t", Ball(10, "l0", mask=mask)), settle="nearest")
    sigma_zero(o, steps=100)
    assert o.outcome.broken.any()
    assert torch.equal(o.outcome.best[:, 1::2], x[:, 1::2])
    assert super_deepfool.facts.on == ("l2",)
