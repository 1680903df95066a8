"""Auto-PGD step by step: its schedule, its two conditions, its path on functions small enough to follow by hand, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spine import NEAR, Counting, attacking, siege
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.attacks.evasion.gradient.apgd import border_start
from vauban.attacks.evasion.gradient.apgd_l1 import look_back, sparse_climb, sparse_step
from vauban.attacks.parts.auto_pgd import climb
from vauban.attacks.parts.checkpoints import checkpoints, phases, remember, stalled, start_ascent
from vauban.attacks.parts.draws import ascend_mean
from vauban.attacks.parts.losses import cross_entropy, margin
from vauban.doors import Aim, Oracle, Rows
from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.target import Torch
from vauban.threat import INF, Ball, Goal, Threat

# ---- the schedule and the conditions ------------------------------------------------------------------------------------------------


def test_checkpoints_are_the_published_ones() -> None:
    assert checkpoints(100) == {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}
    assert list(checkpoints(1000).values())[:6] == [220, 190, 160, 130, 100, 70]
    assert set(list(checkpoints(1000).values())[6:]) == {60}


@given(st.integers(1, 2000))
def test_periods_shrink_and_add_up(steps: int) -> None:
    marks = checkpoints(steps)
    periods = list(marks.values())
    assert periods == sorted(periods, reverse=True)
    assert all(p >= 1 for p in periods)
    assert list(marks) == [sum(periods[: i + 1]) for i in range(len(periods))]
    assert steps - max(marks) < periods[-1], "another look would fit in"


@given(st.integers(1, 2000))
def test_phases_spend_every_step_and_end_in_the_ball(steps: int) -> None:
    parts = phases(steps)
    assert [times for times, _ in parts] == [3, 2, 1]
    assert sum(part for _, part in parts) == steps
    assert all(part >= 0 for _, part in parts)


def judged(rises: float, top: float, mark: float, halved: bool, period: int) -> bool:
    s = Rows(rises=torch.tensor([rises]), top=torch.tensor([top]), mark=torch.tensor([mark]), halved=torch.tensor([halved]))
    return bool(stalled(s, period))


@pytest.mark.parametrize(
    ("rises", "top", "halved", "period", "stall"),
    [
        (17, 2.0, False, 22, False),
        (16, 2.0, False, 22, True),  # 16 of 22 is less than three quarters
        (12, 2.0, True, 16, True),  # exactly three quarters is too few
        (13, 2.0, True, 16, False),
        (20, 1.0, False, 22, True),  # the loss rose nearly always, and never above its best, with a step that is as it was
        (20, 1.0, True, 22, False),  # the same, but the step has only just been halved
        (0, 1.0, True, 22, True),
    ],
)
def test_a_step_is_halved_on_either_condition(rises: float, top: float, halved: bool, period: int, stall: bool) -> None:
    assert judged(rises, top, 1.0, halved, period) is stall


def test_only_better_answers_are_remembered() -> None:
    x = torch.tensor([[0.0], [0.0], [0.0]])
    s = Rows(x=x, **start_ascent(x))
    for place, values in ((0.1, [1.0, 3.0, math.nan]), (0.2, [2.0, 3.0, 1.0]), (0.3, [1.5, 4.0, math.nan]), (0.4, [2.5, 1.0, 0.5])):
        s.x = torch.full((3, 1), place)
        remember(s, torch.tensor(values), torch.full((3, 1), 10 * place))
    assert s.top.tolist() == [2.5, 4.0, 1.0]
    assert s.best.flatten().tolist() == pytest.approx([0.4, 0.3, 0.2])
    assert s.slope.flatten().tolist() == pytest.approx([4.0, 3.0, 2.0])
    assert s.rises.tolist() == [2, 1, 0], "1 < 2 > 1.5 < 2.5; 3 = 3 < 4; a number after none has nothing to rise from"
    assert x.flatten().tolist() == [0, 0, 0], "what was given is left alone"


# ---- the path -----------------------------------------------------------------------------------------------------------------------


class Hill(nn.Module):
    """Two features; the score of class 1 is a concave hill that never reaches that of class 0: its top is at (0.56, 0.47)."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Parameter(torch.tensor([0.56, 0.47]))
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.asked.append(x.detach().double())
        hill = -1 - 7 * (x[:, 0] - self.top[0]) ** 2 - 3 * (x[:, 1] - self.top[1]) ** 2
        return torch.stack([torch.zeros_like(hill), hill], 1)


def hill(_: int, x: list[float]) -> tuple[float, list[float]]:
    a, b = x[0] - 0.56, x[1] - 0.47
    return -1 - 7 * a * a - 3 * b * b, [-14 * a, -6 * b]


def inside(x: list[float], x0: list[float], eps: float, norm: float) -> list[float]:
    d = [a - b for a, b in zip(x, x0, strict=True)]
    if norm == INF:
        d = [min(max(v, -eps), eps) for v in d]
    else:
        size = math.hypot(*d)
        d = [v * min(1, eps / size) for v in d] if size else d
    return [min(max(b + v, 0), 1) for b, v in zip(x0, d, strict=True)]


def stride(g: list[float], eta: float, norm: float) -> list[float]:
    if norm == INF:
        return [math.copysign(eta, v) if v else 0.0 for v in g]
    size = math.hypot(*g)
    return [eta * v / size for v in g] if size else g


Answer = Callable[[int, list[float]], tuple[float, list[float]]]


def followed(f: Answer, x0: list[float], start: list[float], eps: float, norm: float, steps: int) -> tuple[list[list[float]], list[float]]:
    """The paper's algorithm 1 in plain Python: the points it asks about, and the step size before each. `f` gives the value and the gradient
    at a question of a number and a point."""
    x, before, eta, halved = start, start, 2 * eps, False
    value, g = f(0, x)
    best, best_value, best_g, mark, values = x, value, g, value, [value]
    path, etas = [x], [eta]
    look, period = 0, max(int(0.22 * steps), 1)
    for k in range(steps):
        z = inside([a + b for a, b in zip(x, stride(g, eta, norm), strict=True)], x0, eps, norm)
        a = 0.75 if k else 1.0
        x, before = inside([p + a * (q - p) + (1 - a) * (p - r) for p, q, r in zip(x, z, before, strict=True)], x0, eps, norm), x
        value, g = f(k + 1, x)
        values.append(value)
        path.append(x)
        etas.append(eta)
        if value > best_value:
            best, best_value, best_g = x, value, g
        if k + 1 == look + period:
            rises = sum(values[i + 1] > values[i] for i in range(look, look + period))
            halved = rises <= 0.75 * period or (not halved and best_value <= mark)
            if halved:
                eta, x, g = eta / 2, best, best_g
            mark, look, period = best_value, look + period, max(period - max(int(0.03 * steps), 1), int(0.06 * steps), 1)
    return path, etas


@pytest.mark.parametrize(("norm", "eps", "steps"), [(INF, 0.2, 40), (INF, 0.05, 40), (INF, 0.3, 100), (2.0, 0.2, 40), (2.0, 0.05, 100)])
def test_it_walks_the_way_of_the_paper(norm: float, eps: float, steps: int) -> None:
    model, x0 = Hill(), torch.tensor([[0.4, 0.6]])
    o = Oracle(Torch(model, outputs="logits"), x0, torch.tensor([0]), Threat("t", Ball(eps, norm)))
    model.asked.clear()
    with attacking(o):
        climb(o, lambda x: o.ascend(x, margin), steps, torch.tensor([[0.4 - eps / 2, 0.6 + eps / 3]]))
    path, etas = followed(hill, [0.4, 0.6], model.asked[0][0].tolist(), eps, norm, steps)
    asked = torch.cat(model.asked)
    assert len(asked) == steps + 1
    # an L2 projection lands a little inside, and directions near the top magnify it
    assert torch.allclose(asked, torch.tensor(path, dtype=torch.float64), atol=2e-5 if norm == INF else 5e-4)
    assert etas[-1] <= eps / 2, "the step was halved, more than once"


class Riser(nn.Module):
    """A score that rises by one with each question, and whose slope turns each time."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.Parameter(torch.ones(1))
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        value, slope = riser(len(self.asked), [0.0])[0], riser(len(self.asked), [0.0])[1][0]
        self.asked.append(x.detach().double())
        z = value + slope * x[:, 0] * self.unit
        return torch.stack([torch.zeros_like(z), z], 1)


def riser(i: int, x: list[float]) -> tuple[float, list[float]]:
    slope = (-1.0) ** i / 8
    return i - 1000 + slope * x[0], [slope]


def test_a_loss_that_keeps_rising_keeps_its_step() -> None:
    model = Riser()
    o = Oracle(Torch(model, outputs="logits"), torch.tensor([[0.5]]), torch.tensor([0]), Threat("t", Ball(0.2)))
    model.asked.clear()
    with attacking(o):
        climb(o, lambda x: o.ascend(x, margin), 40, torch.tensor([[0.6]]))
    path, etas = followed(riser, [0.5], [0.6], 0.2, INF, 40)
    assert set(etas) == {0.4}
    assert torch.allclose(torch.cat(model.asked), torch.tensor(path, dtype=torch.float64), atol=1e-5)


def test_it_ends_on_top_of_the_hill() -> None:
    model = Hill()
    o = Oracle(Torch(model, outputs="logits"), torch.tensor([[0.4, 0.6]]), torch.tensor([0]), Threat("t", Ball(0.3)))
    with attacking(o):
        climb(o, lambda x: o.ascend(x, margin), 100, border_start(o))
    assert torch.allclose(model.asked[-1], torch.tensor([[0.56, 0.47]], dtype=torch.float64), atol=0.02)


class Slope(nn.Module):
    """A linear margin with slopes 1, 2, ..., d over the features, which class 1 never wins."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.arange(1.0, d + 1))
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.asked.append(x.detach())
        z = x @ self.slopes - 1e4
        return torch.stack([torch.zeros_like(z), z], 1)


@pytest.mark.parametrize(("ball", "norm"), [(Ball(0.3), INF), (Ball(1.0, "l2"), 2.0)])
def test_it_starts_on_the_border(ball: Ball, norm: float) -> None:
    model, x = Slope(64), torch.full((50, 64), 0.5)
    o = Oracle(Torch(model, outputs="logits"), x, torch.zeros(50, dtype=torch.long), Threat("t", ball))
    with attacking(o):
        d = border_start(o) - o.x
    size = torch.linalg.vector_norm(d, ord=norm, dim=1)
    assert torch.allclose(size, torch.full((len(d),), ball.eps), rtol=1e-4)
    assert float(d.mean()) == pytest.approx(0, abs=0.02)
    assert d.std(0).min() > 0, "every feature of every row is its own"


# ---- in L1 --------------------------------------------------------------------------------------------------------------------------


def test_sparse_steps_are_shared_by_the_largest_gradients() -> None:
    g = torch.tensor([[3.0, -2.0, 1.0, 0.0, 0.5], [0.1, 0.0, 0.0, -5.0, 0.2], [1.0, 1.0, 0.5, 0.2, 0.1]])
    step = sparse_step(g, torch.tensor([0.4, 0.0, 0.2]), torch.tensor([1.0, 2.0, 3.0]))
    assert step.tolist() == [[0.5, -0.5, 0, 0, 0], [0, 0, 0, -2, 0], [1.5, 1.5, 0, 0, 0]], "a tie moves both"


def test_a_gradient_of_nothing_moves_nothing() -> None:
    assert sparse_step(torch.zeros(2, 3), torch.tensor([0.5, 1.0]), torch.ones(2)).abs().sum() == 0


def test_in_l1_a_sparser_best_point_is_gone_back_to_with_full_steps() -> None:
    """Of ten features the first row's best moves 4 where 8 did, the second's 8 (a twentieth fewer would do), the third's step is at its least."""
    clean, best = torch.zeros(3, 10), torch.zeros(3, 10)
    best[0, :4], best[1, :8], best[2, :8] = 1, 1, 1
    eta = torch.tensor([0.3, 0.3, 0.11])
    s = Rows(x=torch.full((3, 10), 0.5), best=best, slope=torch.ones(3, 10), eta=eta, moved=torch.full((3,), 8.0), share=torch.ones(3))
    gradient = look_back(clean, s, torch.zeros(3, 10), 1.0)
    assert s.eta.tolist() == pytest.approx([1.0, 0.2, 0.1])
    assert s.share.tolist() == pytest.approx([4 / 15, 8 / 15, 8 / 15])
    assert s.moved.tolist() == [4, 8, 8]
    assert torch.equal(s.x, torch.stack([best[0], torch.full((10,), 0.5), torch.full((10,), 0.5)]))
    assert gradient.sum(1).tolist() == [10, 0, 0]


def test_in_l1_it_finds_the_best_of_a_linear_function() -> None:
    """All on the steepest features until they reach their walls: 0.4 each, so a radius of 1 moves two whole ones and half of a third."""
    model, x0 = Slope(50), torch.full((3, 50), 0.6)
    o = Oracle(Torch(model, outputs="logits"), x0, torch.zeros(3, dtype=torch.long), Threat("t", Ball(1.0, "l1")))
    with attacking(o):
        best = sparse_climb(o, margin, 100, o.x + o.noise.normal(50), 1.0)
    optimum = 0.4 * (50 + 49) + 0.2 * 48
    gain = (best - x0) @ model.slopes.detach()
    assert (gain <= optimum * (1 + 1e-6)).all()
    assert (gain >= optimum * 0.999).all()
    assert (((best - x0) != 0).sum(1) <= 8).all(), "and few other features still differ"


def test_in_l1_large_radii_come_first_and_the_last_is_the_threats() -> None:
    model, x0 = Slope(50), torch.full((2, 50), 0.6)
    o = Oracle(Torch(model, outputs="logits"), x0, torch.zeros(2, dtype=torch.long), Threat("t", Ball(1.0, "l1")))
    ATTACKS["apgd"].bind(steps=10, large_eps=True, loss="margin")(o)
    size = (torch.stack(model.asked) - x0).abs().sum(2).amax(1)
    assert len(size) == 13
    assert size[:4].max() <= 3
    assert size[:4].max() > 2.5
    assert size[4:8].max() <= 2
    assert size[4:8].max() > 1.5
    assert size[8:].max() <= 1
    assert o.outcome.distance.isinf().all()


@pytest.mark.parametrize("name", ["apgd", "apgd-t"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_large_radii_are_for_l1(name: str, norm: str) -> None:
    with pytest.raises(BadPlan, match="large_eps is for L1"):
        ATTACKS[name].bind(large_eps=True)(siege(ball=Ball(0.1, norm)))


# ---- what it costs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize(("steps", "restarts"), [(100, 1), (7, 3), (1, 2)])
def test_a_run_costs_one_pass_more_than_it_has_steps(norm: str, steps: int, restarts: int) -> None:
    model = Counting()
    o = siege(model, Ball(NEAR.eps, norm))
    ATTACKS["apgd"].bind(steps=steps, restarts=restarts)(o)
    each = restarts * (steps + 1)
    assert (model.forwards, model.backwards) == (5 * each, 5 * each)
    assert o.outcome.queries.tolist() == o.outcome.gradients.tolist() == [each] * 5


@pytest.mark.parametrize(("goal", "runs"), [(Goal(), 2), (Goal(wanted=1), 1)])
def test_targets_cost_a_run_each_and_one_question_for_the_ranking(goal: Goal, runs: int) -> None:
    model = Counting()
    o = siege(model, NEAR, threat={"goal": goal})
    ATTACKS["apgd-t"].bind(steps=9, restarts=2)(o)
    assert (model.forwards, model.backwards) == (5 * (1 + runs * 20), 5 * runs * 20)
    assert (o.outcome.queries == 1 + runs * 20).all()


# ---- what it finds ------------------------------------------------------------------------------------------------------------------

DUAL = {"linf": 1.0, "l2": 2.0, "l1": INF}


class Linear(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(classes, 30, generator=torch.Generator().manual_seed(classes)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) @ self.w.T


def plane(classes: int, norm: str, wanted: int | None = None) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """A linear model, rows well inside the box, their classes, and their least distance to another class (the wanted one) in closed form."""
    model = Linear(classes)
    w = model.w.detach().double()
    x = torch.rand(60, 30, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    z = (x.double() - 0.5) @ w.T
    y = z.argmax(1)
    lack = z.gather(1, y[:, None]) - z
    distance = lack / torch.linalg.vector_norm(w[y][:, None] - w[None], ord=DUAL[norm], dim=2)
    distance[torch.arange(len(y)), y] = INF
    return model, x, y, distance.amin(1) if wanted is None else distance[:, wanted]


def test_there_is_no_sure_step_in_l1_on_two_features_alike() -> None:
    """What the published sparsity leaves undone: shared by the two steepest features, the step never tells the better from the other."""
    assert sparse_step(torch.tensor([[2.0, 1.0, 0.5]]), torch.tensor([2 / 4.5]), torch.ones(1)).tolist() == [[0.5, 0.5, 0]]


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["apgd", "apgd-t"])
def test_it_breaks_exactly_what_can_be_broken(name: str, norm: str, classes: int) -> None:
    """In L1 nearly: the step is shared by several features even where one would do."""
    model, x, y, distance = plane(classes, norm)
    eps = float(distance.median()) * 1.000001
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps, norm, -2, 3)))
    ATTACKS[name].bind(loss="margin", restarts=3 if name == "apgd" else 1)(o)
    broken = o.outcome.broken
    assert not broken[distance > eps * (1 + 1e-5)].any(), "nothing beats the geometry"
    if norm == "l1":
        assert float(broken[distance < 0.9 * eps].double().mean()) > 0.9
    else:
        assert broken[distance < 0.99 * eps].all()


def test_the_likeliest_classes_are_headed_for_in_turn() -> None:
    """Up a linear lead the first step goes to the corner of the cube where the signs of the slope are."""
    model, x, y, distance = plane(5, "linf")
    asked: list[Tensor] = []
    forward = model.forward
    model.forward = lambda x: (asked.append(x.detach()), forward(x))[1]  # type: ignore[method-assign]
    eps = float(distance.min()) / 2
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps)))
    asked.clear()
    ATTACKS["apgd-t"].bind(steps=3, restarts=2, targets=3, loss="margin")(o)
    assert len(asked) == 1 + 3 * 2 * 4
    ranked = forward(x).argsort(1, descending=True)
    w = model.w.detach()
    for i in range(6):
        corner = x + eps * (w[ranked[:, 1 + i // 2]] - w[y]).sign()
        assert torch.allclose(asked[1 + 4 * i + 1], corner, atol=1e-6)
        assert not torch.allclose(asked[1 + 4 * i], asked[1 + 4 * (i - 1)], atol=eps / 10), "every run has a start of its own"


@pytest.mark.parametrize("loss", ["cross-entropy", "margin", "dlr", "probability-margin"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_and_a_wanted_one(classes: int, norm: str, loss: str) -> None:
    model, x, y, distance = plane(classes, norm, wanted=1)
    eps = float(distance[y != 1].median())
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps, norm, -2, 3), goal=Goal(wanted=1)))
    ATTACKS["apgd"].bind(loss=loss)(o)
    r = o.outcome
    assert torch.equal(r.eligible, y != 1)
    assert not r.broken[distance > eps * (1 + 1e-5)].any()
    if classes == 2:
        assert r.broken[r.eligible & (distance < eps * (0.7 if norm == "l1" else 0.99))].all()
    assert r.broken.any()
    assert (model(r.best[r.broken]).argmax(1) == 1).all()


# ---- what answers at random ---------------------------------------------------------------------------------------------------------


class Shaky(Torch):
    """Scores whose slopes are drawn anew for each question: 1 in the mean, and off by 3."""

    randomised = True

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self.smooth(x, draw)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        assert draw is not None
        z = ((1 + 3 * draw.normal(x.shape[1])) * x).sum(1) - 1e4
        return torch.stack([torch.zeros_like(z), z], 1)


def shaky() -> Oracle:
    return Oracle(
        Shaky(nn.Linear(4, 2), outputs="logits"), torch.full((6, 4), 0.5), torch.zeros(6, dtype=torch.long), Threat("t", Ball(0.1))
    )


def test_gradients_are_averaged_over_draws_and_each_draw_is_charged() -> None:
    o = shaky()
    with attacking(o):
        one, many = (ascend_mean(o, o.x, margin, draws) for draws in (1, 400))
    assert (one[1] - 1).abs().max() > 1
    assert torch.allclose(many[1], torch.ones(6, 4), atol=5 * 3 / 20)
    assert torch.allclose(many[0], torch.full((6,), 2.0 - 1e4), atol=5)
    assert len({tuple(row) for row in many[1].tolist()}) == 6, "every row has draws of its own"
    assert (o.outcome.queries == 401).all()


def test_a_run_with_draws_costs_as_many_times_more() -> None:
    o = shaky()
    ATTACKS["apgd"].bind(steps=4, eot=3)(o)
    assert (o.outcome.queries == 15).all()
    assert (o.outcome.gradients == 15).all()


def test_the_mean_of_one_model_is_that_model() -> None:
    o = siege()
    with attacking(o):
        assert all(torch.allclose(a, b) for a, b in zip(ascend_mean(o, o.x, cross_entropy, 1), ascend_mean(o, o.x, _same, 4), strict=True))


def _same(aim: Aim, z: Tensor) -> Tensor:
    return cross_entropy(aim, z)
