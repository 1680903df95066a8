"""FAB: on planes its distances are a recursion's, its steps are the paper's, and it costs what was published."""

from __future__ import annotations

import pytest
import torch
from spine import Counting
from torch import Tensor, nn
from worlds import besiege, world

from vauban.attacks import ATTACKS, Attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows
from vauban.target import Torch
from vauban.threat import INF, Ball, Goal, Threat

P = {"linf": INF, "l2": 2.0, "l1": 1.0}
DUAL = {"linf": 1.0, "l2": 2.0, "l1": INF}
both = pytest.mark.parametrize("name", ["fab", "fab-t"])
norms = pytest.mark.parametrize("norm", P)


def recursion(steps: int, alpha_max: float = 0.1, eta: float = 1.05, beta: float = 0.9) -> float:
    """The nearest point found, in distances to the boundary, where that is a plane and no wall is near: the step in one dimension."""
    x, best = 0.0, INF
    for _ in range(steps):
        alpha = min(abs(1 - x) / (abs(1 - x) + 1), alpha_max)
        x = (1 - alpha) * (x + eta * (1 - x)) + alpha * eta
        if x > 1:
            best, x = min(best, x), beta * x
            best = min(best, x) if x > 1 else best
    return best


class Linear(nn.Module):
    """As many classes as asked for, linear in 30 features, around the middle of the box."""

    def __init__(self, classes: int, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(classes, 30, generator=torch.Generator().manual_seed(classes)))
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return ((x - 0.5) @ self.w.T) * self.scale + self.shift

    def exact(self, x: Tensor, y: Tensor, norm: str) -> Tensor:
        """The distance to the nearest of the planes between the true class and another, float64, where no wall is near."""
        w, z = self.w.detach().double(), self(x).detach().double()
        lack = z.gather(1, y[:, None]) - z
        slope = torch.linalg.vector_norm(w[y][:, None] - w[None], ord=DUAL[norm], dim=2)
        return (lack / slope).masked_fill(lack == 0, INF).amin(1)


def found(model: nn.Module, x: Tensor, name: str, norm: str, ball: Ball | None = None, **settings: object) -> Tensor:
    o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), Threat("t", ball or Ball(INF, norm)), settle="nearest")
    ATTACKS[name].bind(**settings)(o)
    return o.outcome.distance


def points(n: int = 20) -> Tensor:
    return torch.rand(n, 30, generator=torch.Generator().manual_seed(4)) * 0.2 + 0.4


def never_broken(model: nn.Module, linear: Linear) -> Oracle:
    """The two points farthest from any boundary, and a radius that is smaller than that."""
    x = points()
    y = linear(x).argmax(1)
    far = linear.exact(x, y, "linf").topk(2)
    return Oracle(Torch(model, outputs="logits"), x[far.indices], y[far.indices], Threat("t", Ball(float(far.values[1]) / 2)))


@both
@norms
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_between_planes_the_nearest_one_is_found_to_the_last_digit_of_the_recursion(name: str, norm: str, classes: int) -> None:
    model, x = Linear(classes), points()
    best = recursion(20) * model.exact(x, model(x).argmax(1), norm)
    assert recursion(20) == pytest.approx(1.005213, abs=1e-6)
    assert torch.allclose(found(model, x, name, norm, steps=20), best, rtol=2e-5, atol=1e-6)


@both
@pytest.mark.parametrize(
    "change", [{"beta": 0.5}, {"alpha_max": 0.0}, {"eta": 1.2, "beta": 0.8}, {"eta": 1.3, "beta": 0.95, "alpha_max": 0.05}]
)
def test_every_setting_does_what_the_paper_says(name: str, change: dict[str, float]) -> None:
    model, x = Linear(2), points()
    best = recursion(9, **change) * model.exact(x, model(x).argmax(1), "l2")
    assert abs(recursion(9, **change) - recursion(9)) > 1e-3, "the setting matters"
    assert torch.allclose(found(model, x, name, "l2", steps=9, **change), best, rtol=2e-5, atol=1e-6)


@both
@norms
def test_walls_of_the_box_are_part_of_the_plan(name: str, norm: str) -> None:
    """The smallest change of these rows fills features to the wall in L1."""
    w, attack = world(norm), ATTACKS[name].bind(steps=40)
    d = besiege(w, attack, w.threat(attack, 1.6), settle="nearest").outcome.distance
    assert (d <= w.optimum * 1.006).all()
    assert (d >= w.optimum * (1 - 1e-6)).all()


@norms
def test_under_a_mask_only_its_features_move(norm: str) -> None:
    model, x = Linear(3), points()
    mask = [i % 3 == 0 for i in range(30)]
    o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), Threat("t", Ball(INF, norm, mask=mask)), settle="nearest")
    ATTACKS["fab-t"].bind(steps=20)(o)
    moved = (o.outcome.best != x).any(0)
    assert o.outcome.nearest.any()
    assert not moved[~torch.tensor(mask)].any()


def test_two_steps_by_hand() -> None:
    """z = (0, 2 a + b - 1.8) from (0.5, 0.5) in L-infinity: 0.1 to go. Over it by 5 %, back to 90 %, and over it again, drawn to the first."""

    class Asked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.seen = nn.Parameter(torch.tensor([2.0, 1.0])), list[Tensor]()

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.detach().clone())
            return torch.stack([torch.zeros(len(x)), x @ self.w - 1.8], 1)

    model, x = Asked(), torch.full((1, 2), 0.5)
    found_at = found(model, x, "fab-t", "linf", steps=2)
    went = [float(seen[0, 0]) - 0.5 for seen in model.seen[-4:]]
    alpha = 0.0055 / (0.0055 + 0.1)
    last = (1 - alpha) * (0.0945 + 1.05 * 0.0055) + alpha * 0.105
    assert went == pytest.approx([0.0, 0.105, 0.0945, last], abs=1e-6)
    assert float(found_at) == pytest.approx(last, abs=1e-6)
    assert all(torch.equal(seen[:, 0], seen[:, 1]) for seen in model.seen)


@pytest.mark.parametrize(("classes", "targets"), [(2, 1), (3, 2), (10, 9)])
def test_a_row_that_never_falls_costs_what_was_published(classes: int, targets: int) -> None:
    """For each of at most nine classes 100 gradients and 100 checks, and one question to rank the classes."""
    linear = Linear(classes)
    model = Counting(linear)
    o = never_broken(model, linear)
    model.reset()
    ATTACKS["fab-t"].bind()(o)
    assert (o.outcome.queries == 1 + targets * 200).all()
    assert (o.outcome.gradients == targets * 100).all()
    assert (model.forwards, model.backwards) == (2 * (1 + targets * 200), 2 * targets * 100)


def test_untargeted_fab_takes_one_gradient_a_step_for_each_other_class() -> None:
    o = never_broken(Linear(10), Linear(10))
    ATTACKS["fab"].bind(steps=7)(o)
    assert (o.outcome.queries == 14).all()
    assert (o.outcome.gradients == 63).all()


@both
@norms
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (1e4, 0.0), (1.0, -50.0)])
def test_scale_and_shift_of_the_scores_do_not_matter(name: str, norm: str, scale: float, shift: float) -> None:
    plain = found(Linear(5), points(), name, norm, steps=10)
    assert torch.allclose(found(Linear(5, scale, shift), points(), name, norm, steps=10), plain, rtol=2e-3)


@both
@norms
def test_restarts_begin_half_as_far_as_the_best_example_or_the_radius(name: str, norm: str) -> None:
    """A restart's first question is the random point; rows differ, and so do restarts."""
    model, x = Linear(3), points(6)
    for eps in (INF, 1e-4):
        o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), Threat("t", Ball(eps, norm)), settle="nearest")
        began, half = starts(o, ATTACKS[name].bind(steps=1, restarts=3, **({"targets": 1} if name == "fab-t" else {})))
        size = norms_of_rows(began.double() - x, P[norm], 1)
        assert float(size[0].max()) == 0.0
        assert torch.allclose(size[1:], half[1:].clamp_max(eps / 2), rtol=1e-4, atol=1e-6)
        assert (began[1] - began[2]).abs().amax(1).min() > 0, "restarts differ"
        assert ((began[1] - x)[0] - (began[1] - x)[1]).abs().max() > 0, "rows differ"


def starts(o: Oracle, attack: Attack) -> tuple[Tensor, Tensor]:
    """Where each restart of one step began, and half the distance of the best example that was known then."""
    began: list[Tensor] = []
    half: list[Tensor] = []
    ask = o._gradient

    def listened(v: Tensor, *rest: object, **more: object) -> tuple[Tensor, Tensor, Tensor]:
        began.append(v)
        half.append(o.distance / 2)
        return ask(v, *rest, **more)  # type: ignore[arg-type]

    o._gradient = listened  # type: ignore[method-assign, assignment]
    attack(o)
    return torch.stack(began), torch.stack(half)


@both
def test_restarts_find_what_the_first_run_missed(name: str) -> None:
    """From the clean input the gradient is flat: no step is taken until a restart lands on a slope."""

    class Plateau(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = torch.relu((x - 0.5).abs().sum(1) - 0.3) - 0.2
            return torch.stack([-z, z], 1)

    x = torch.full((4, 6), 0.5)
    assert (found(Plateau(), x, name, "linf", steps=50) == INF).all()
    again = found(Plateau(), x, name, "linf", steps=50, restarts=2)
    assert (again < 0.5 / 6 * 1.03).all()
    assert (again > 0.5 / 6 - 1e-6).all()


def test_a_wanted_class_is_the_only_target() -> None:
    model, x = Linear(10), points()
    y = model(x).argmax(1)
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(INF, "l2"), goal=Goal(wanted=3)), settle="nearest")
    ATTACKS["fab-t"].bind(steps=60)(o)
    r = o.outcome
    assert (r.queries[r.eligible] == 1 + 120).all()
    assert (model(r.best[r.broken]).argmax(1) == 3).all()
    assert r.broken[r.eligible].all()


def test_the_world_of_these_tests_has_no_wall_near() -> None:
    """Points lie within 0.4 to 0.6, and no boundary is as far as a wall."""
    for classes in (2, 3, 10):
        model, x = Linear(classes), points()
        assert float(model.exact(x, model(x).argmax(1), "l1").max()) * 1.1 < 0.4
