"""Starts that answer differently, one PGD a class, margin decomposition and MALT, on models small enough to know every step by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import Counting, attacking, siege
from torch import Tensor, nn

from vauban.attacks import ATTACKS, apgd_t, malt, md, multi_targeted, pgd, pma
from vauban.attacks.evasion.gradient.malt import GROUP, nearest_targets
from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import diverse_start, random_start, start_of
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.threat import INF, Ball, Goal

DUAL = {"linf": 1.0, "l2": 2.0, "l1": INF}


class Linear(nn.Module):
    """Scores W x + b, times a scale, plus a constant."""

    def __init__(self, w: Tensor, b: Tensor, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.w, self.b, self.scale, self.shift = nn.Parameter(w), nn.Parameter(b), scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.w.T + self.b) * self.scale + self.shift


class Kept(nn.Module):
    """A model, and every batch that it was asked with a gradient or without."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        return self.inner(x)


def random_linear(classes: int, features: int, seed: int = 0, **options: float) -> Linear:
    g = torch.Generator().manual_seed(seed)
    return Linear(torch.randn(classes, features, generator=g), torch.zeros(classes), **options)


def middle(n: int, features: int) -> Tensor:
    return torch.full((n, features), 0.5)


# ---- starts -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_diverse_start_ends_where_a_random_sum_of_scores_is_greatest(norm: str) -> None:
    """On a linear model two steps of the radius lead to the point of the ball that is known in closed form."""
    n, k, d, eps = 6, 4, 12, 0.05
    model, x = random_linear(k, d), middle(6, 12)
    o, same = (siege(model, Ball(eps, norm), x=x, y=model(x).argmax(1)) for _ in range(2))
    with attacking(o), attacking(same):
        found = diverse_start(o)
        random_start(same)
        w = same.noise.uniform(k) * 2 - 1
        up = w @ model.w.detach()
        best = (w * model(x + same.steepest(up, x, eps))).sum(1)
        assert len(w.unique(dim=0)) == n, "a direction of its own for each row"
        share = ((w * (model(found) - model(x))).sum(1) / (best - (w * model(x)).sum(1))).detach()
        assert (share <= 1 + 1e-3).all()
        assert (share >= (0.8 if norm == "l2" else 0.999)).all(), "in L2 two steps do not quite forget where they began"
        assert (o.ball.distance(o.x, found) <= eps).all()


def test_a_diverse_start_does_not_feel_the_scale_of_the_scores_nor_a_constant() -> None:
    found = []
    for scale, shift in ((1.0, 0.0), (64.0, 3.0), (1 / 64, -5.0)):
        model = random_linear(3, 8, scale=scale, shift=shift)
        o = siege(model, Ball(0.05), x=middle(4, 8), y=model(middle(4, 8)).argmax(1))
        with attacking(o):
            found.append(start_of(o, "output-diverse"))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_diverse_start_costs_two_gradients_and_every_restart_goes_elsewhere() -> None:
    kept = Kept(random_linear(3, 8))
    x = middle(1, 8)
    o = siege(kept, Ball(1e-3), x=x, y=kept(x).argmax(1))
    kept.asked.clear()
    pgd(o, steps=1, restarts=4, start="output-diverse")
    assert o.outcome.gradients.tolist() == [12]
    starts = torch.cat(kept.asked[2::4])
    assert len(starts.unique(dim=0)) > 1
    with pytest.raises(BadPlan, match="start"):
        pgd.bind(start="diverse")


# ---- multi-targeted, MALT: a likely class that can never be reached ---------------------------------------------------------------------


class Decoy(nn.Module):
    """Class 0 is right; class 1 is likely and flat; class 2 is unlikely at the clean input, and near; class 3 is far."""

    def forward(self, x: Tensor) -> Tensor:
        t = x.flatten(1).mean(1) - 0.5
        return torch.stack([0 * t, 0 * t - 0.1, 30 * t - 1, t - 3], 1)


class Trap(nn.Module):
    """Class 1 seems nearest, and rises no further once the way to it is begun; class 2 lies another way."""

    def forward(self, x: Tensor) -> Tensor:
        u, t = x[:, 0] - 0.5, x[:, 1:].mean(1) - 0.5
        return torch.stack([0 * t, (10 * u).clamp_max(0.05) - 0.1, 30 * t - 1, 0 * t - 3], 1)


def decoyed(attack: object, model: nn.Module | None = None, **settings: object) -> bool:
    o = siege(model or Decoy(), Ball(0.05), x=middle(1, 40), y=torch.tensor([0]))
    attack(o, **settings)  # type: ignore[operator]
    return bool(o.outcome.broken[0])


def test_heading_for_every_class_finds_the_one_that_the_margin_hides() -> None:
    assert not decoyed(pgd, loss="margin", start="clean", steps=40), "the runner-up is flat, so the margin has no gradient"
    assert not decoyed(multi_targeted, targets=1)
    assert decoyed(multi_targeted, targets=2)


def test_malt_takes_the_nearest_class_first_where_the_likeliest_is_out_of_reach() -> None:
    assert not decoyed(apgd_t, targets=1, steps=20)
    assert decoyed(malt, targets=1, steps=20)
    assert not decoyed(malt, targets=1, candidates=1, steps=20)


def test_malt_goes_on_to_the_next_target() -> None:
    assert not decoyed(malt, Trap(), targets=1, steps=20)
    assert decoyed(malt, Trap(), targets=2, steps=20)


@pytest.mark.parametrize("norm", DUAL)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 2 * GROUP + 3), most=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_malts_targets_are_the_nearest_boundaries_of_a_linear_model(norm: str, seed: int, classes: int, most: int) -> None:
    model, x = random_linear(classes, 7, seed), torch.rand(5, 7, generator=torch.Generator().manual_seed(seed))
    z, w = model(x).detach().double(), model.w.detach().double()
    y = z.argmax(1)
    distance = (z.gather(1, y[:, None]) - z) / torch.linalg.vector_norm(w[y][:, None] - w[None], ord=DUAL[norm], dim=2)
    distance[torch.arange(5), y] = INF
    o = siege(model, Ball(1e-4, norm), x=x, y=y)
    with attacking(o):
        candidates = o.logits(o.x).masked_fill(o.aim.loses, -INF).topk(classes - 1).indices
        found = nearest_targets(o, candidates, most)
    assert found.shape == (5, min(most, classes - 1))
    best = distance.sort(1).values[:, : found.shape[1]]
    assert torch.allclose(distance.gather(1, found), best, rtol=1e-4, atol=1e-6)


def test_malt_asks_one_gradient_a_candidate_and_then_a_run_a_target() -> None:
    model = Counting(random_linear(30, 6))
    x = middle(2, 6) + torch.tensor([[0.0], [0.1]])
    o = siege(model, Ball(1e-4), x=x, y=model(x).argmax(1))
    malt(o, steps=5, candidates=25, targets=3)
    assert o.outcome.gradients.tolist() == [25 + 3 * 6] * 2
    assert o.outcome.queries.tolist() == [1 + math.ceil(25 / GROUP) + 3 * 6] * 2


@pytest.mark.parametrize(("classes", "goal", "targets"), [(2, Goal(), 1), (3, Goal(), 2), (10, Goal(wanted=3), 1), (12, Goal(), 9)])
def test_there_are_as_many_runs_as_classes_to_head_for(classes: int, goal: Goal, targets: int) -> None:
    model, x = random_linear(classes, 6), middle(1, 6)
    o = siege(model, Ball(1e-6), x=x, y=model(x).argmax(1), threat={"goal": goal})
    multi_targeted(o, steps=4, restarts=2)
    assert o.outcome.queries.tolist() == [1 + 2 * targets * 5]


# ---- margin decomposition ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", [Goal(), Goal(wanted=1)], ids=["untargeted", "wanted"])
@pytest.mark.parametrize("steps", [4, 7])
def test_the_first_half_climbs_one_term_and_the_second_the_margin(goal: Goal, steps: int) -> None:
    """From any point of the cube a step of twice the radius ends in the corner that the gradient's signs name."""
    own, other = torch.tensor([1.0, -1.0, 2.0, -3.0]), torch.tensor([-1.5, -1.5, 3.0, 1.0])
    kept = Kept(Linear(torch.stack([own, other]), torch.tensor([50.0, 0.0])))
    x, eps, half = middle(1, 4), 0.01, (steps + 1) // 2
    o = siege(kept, Ball(eps), x=x, y=torch.tensor([0]), threat={"goal": goal})
    kept.asked.clear()
    md(o, steps=steps)
    signs = [((p[0] - 0.5) / eps).round(decimals=3) for p in kept.asked]
    assert len(signs) == 2 * (steps + 1)
    for first, term in ((0, other), (steps + 1, -own)):
        assert torch.equal(signs[first + 1], term.sign())
        assert torch.equal(signs[first + half + 1], (other - own).sign())
        assert torch.equal(signs[first + steps], (other - own).sign())


@pytest.mark.parametrize("steps", [9, 10])
def test_both_halves_end_in_small_steps(steps: int) -> None:
    """Around a kink the point swings by the length of the step."""

    class Kinked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([0 * x[:, 0] + 5, -(x[:, 0] - 0.503).abs()], 1)

    kept = Kept(Kinked())
    eps = 0.1
    o = siege(kept, Ball(eps), x=middle(1, 1), y=torch.tensor([0]))
    kept.asked.clear()
    md(o, steps=steps, start="clean")
    half = (steps + 1) // 2
    moved = [float((b - a).abs()) for a, b in zip(kept.asked, kept.asked[1:], strict=False)]
    assert moved[half - 1] == pytest.approx(cosine(half - 1, half, 2.0, 0.0) * eps, rel=1e-3)
    assert moved[steps - 1] == pytest.approx(cosine(steps - half - 1, half, 2.0, 0.0) * eps, rel=1e-3)
    assert moved[half - 1] < eps / 4


def test_probabilities_do_not_feel_what_is_added_to_all_scores_and_logits_do() -> None:
    """A hill common to all scores drowns either term of the logit margin; softmax takes it away."""

    class Hill(nn.Module):
        def __init__(self, height: float) -> None:
            super().__init__()
            self.height = height

        def forward(self, x: Tensor) -> Tensor:
            z = torch.stack([0 * x[:, 0] + 1, x[:, 0] - 0.5, x[:, 1] - 0.5], 1)
            return z + self.height * (x[:, 0] - 2 * x[:, 1])[:, None]

    def second(attack: object, height: float) -> Tensor:
        kept = Kept(Hill(height))
        o = siege(kept, Ball(0.01), x=middle(1, 2), y=torch.tensor([0]))
        kept.asked.clear()
        attack(o, steps=6)  # type: ignore[operator]
        return torch.cat(kept.asked[1:4])

    assert torch.allclose(second(pma, 0.0), second(pma, 7.0), atol=1e-4)
    assert not torch.allclose(second(md, 0.0), second(md, 7.0), atol=1e-4)


# ---- all ----------------------------------------------------------------------------------------------------------------------------------


class Bumpy(nn.Module):
    """A small network with random weights; its scores times a power of two, so that scaling rounds nothing."""

    def __init__(self, classes: int, scale: float = 1.0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(5)
        self.a = nn.Parameter(torch.randn(16, 9, generator=g))
        self.b = nn.Parameter(torch.randn(classes, 16, generator=g))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu((x.flatten(1) - 0.5) @ self.a.T + 0.3) @ self.b.T * self.scale


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("name", ["multi-targeted", "md", "malt", "pgd-diverse"])
def test_the_scale_of_the_scores_changes_nothing(name: str, classes: int) -> None:
    x = torch.rand(12, 9, generator=torch.Generator().manual_seed(1))
    y = Bumpy(classes)(x).argmax(1)
    found = []
    for scale in (2.0**-6, 1.0, 2.0**10):
        o: Oracle = siege(Bumpy(classes, scale), Ball(0.15), x=x, y=y)
        if name == "pgd-diverse":
            pgd(o, loss="margin", start="output-diverse")
        else:
            ATTACKS[name].bind(steps=12)(o)
        found.append(o.outcome)
    assert 0 < found[1].broken.double().mean() < 1, "a radius at which equality says something"
    for other in (found[0], found[2]):
        assert torch.equal(other.broken, found[1].broken)
        assert torch.allclose(other.best, found[1].best, atol=1e-6)
