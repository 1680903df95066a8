"""Attacks that ask for scores: their parts against cases worked out by hand, and their books."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import attacking
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.attacks.evasion.score.bandits import bandits
from vauban.attacks.evasion.score.genetic import fitness
from vauban.attacks.evasion.score.sparse_rs import exchanged
from vauban.attacks.evasion.score.zoo import quotients
from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.both_ways import BothWays
from vauban.attacks.parts.cosines import Basis
from vauban.attacks.parts.losses import margin
from vauban.attacks.parts.slopes import PLACES, dot, grain, one_sided, two_sided, unit
from vauban.doors import Oracle
from vauban.target import Own, Torch
from vauban.threat import INF, Access, Ball, Threat

NAMES = [
    "signhunter",
    "nes",
    "spsa",
    "zoo",
    "bandits",
    "simba",
    "simba-dct",
    "sparse-rs",
    "genetic",
    "gfcs",
    "simba-ods",
    "p-rgf",
    "ods-rgf",
]
NAMES += ["square-transfer"]


class Slope(nn.Module):
    """Scores 0 and w.(x - 1/2) - far: the margin is linear with gradient w, and no point of a small ball is a success. It keeps what it is asked."""

    def __init__(self, w: Tensor, far: float = 1000.0) -> None:
        super().__init__()
        self.w, self.far = nn.Parameter(w), far
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        z = (x - 0.5).flatten(1) @ self.w.to(x).flatten() - self.far
        return torch.stack([torch.zeros_like(z), z], 1)


def sloped(w: Tensor, ball: Ball, n: int = 2, far: float = 1000.0, **options: object) -> tuple[Oracle, Slope]:
    """An oracle over n inputs of 1/2 each, of class 0, and its model, which was asked nothing yet."""
    model = Slope(w, far)
    x = torch.full((n, *w.shape), 0.5)
    threat = Threat("t", ball, access=Access.SCORE, **options.pop("threat", {}))  # type: ignore[arg-type]
    o = Oracle(Torch(model, outputs="logits"), x, torch.zeros(n, dtype=torch.long), threat, **options)  # type: ignore[arg-type]
    model.asked.clear()
    return o, model


def weights(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- the books ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("queries", [1, 2, 13, 50])
def test_an_attack_asks_no_more_than_its_setting_says_and_no_less_than_it_can(name: str, queries: int) -> None:
    w = weights(1, 5, 5)
    kind = ATTACKS[name].facts.on[0]
    own = {"surrogate": Own(Torch(Slope(w), outputs="logits"))} if ATTACKS[name].facts.prior else {}
    o, model = sloped(w, Ball(3 if kind == "l0" else 0.3, kind), **own)
    ATTACKS[name].bind(queries=queries)(o)
    spent = o.outcome.queries
    assert (spent <= queries).all()
    assert sum(len(asked) for asked in model.asked) == int(spent.sum())
    assert (spent >= queries - 1).all(), "bandits asks in pairs"


@pytest.mark.parametrize("name", ["nes", "spsa", "zoo", "bandits", "p-rgf"])
def test_however_many_probes_few_are_there_at_once(name: str) -> None:
    w = weights(1, 40, 40)
    own = {"surrogate": Own(Torch(Slope(w), outputs="logits"))} if name == "p-rgf" else {}
    o, model = sloped(w, Ball(0.1), n=3, max_rows=10_000, **own)
    many = {"coordinates": 100} if name == "zoo" else {} if name == "bandits" else {"probes": 100}
    ATTACKS[name].bind(queries=150, **many)(o)
    assert max(len(asked) for asked in model.asked) <= 3 * max(PLACES // 1600, 2)


@pytest.mark.parametrize("name", ["nes", "spsa", "bandits", "zoo", "p-rgf", "simba", "gfcs"])
@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_every_question_is_a_legal_candidate(name: str, kind: str) -> None:
    if kind not in ATTACKS[name].facts.on:
        pytest.skip("not its norm")
    w = weights(1, 4, 4)
    own = {"surrogate": Own(Torch(Slope(w), outputs="logits"))} if ATTACKS[name].facts.prior else {}
    eps = 0.25 if kind == "linf" else 0.6
    o, model = sloped(w, Ball(eps, kind, lo=0.2, hi=0.7), n=1, **own)
    if name == "zoo" and kind == "l2":
        pytest.skip("a difference in one feature may leave the sphere")
    ATTACKS[name].bind(queries=200)(o)
    for asked in model.asked:
        assert (o.ball.distance(torch.full_like(asked, 0.5), asked) <= eps).all()
        assert asked.min() >= 0.2
        assert asked.max() <= 0.7


def test_an_allowance_counts_what_it_hands_out() -> None:
    o, _ = sloped(weights(4), Ball(0.1), threat={"queries": 5})
    with attacking(o, Access.SCORE):
        purse = Allowance(o, 7)
        assert purse.left.tolist() == [5, 5], "the budget leaves fewer than the attack allows itself"
        where = purse.some(3, spare=1, each=2)
        assert where.tolist() == [[True, True], [True, True], [False, False]]
        assert purse.one(torch.tensor([True, False])).tolist() == [True, False]
        assert purse.s.asked.tolist() == [5, 4]
    o, _ = sloped(weights(4), Ball(0.1))
    with attacking(o, Access.SCORE):
        purse = Allowance(o, 3)
        turns = [int(purse.one().sum()) for _ in purse.turns()]
    assert turns == [2, 2, 2], "without a budget the attack's own limit holds"


# ---- SignHunter -----------------------------------------------------------------------------------------------------------------------


def test_signhunter_flips_all_then_halves_quarters_and_eighths_and_keeps_what_does_not_lower() -> None:
    """Worked out by hand: margins 0 | 0 | 8 0 | -2 10 18 2 | 10 16 22 16 24 14 20 12; after it the signs are those of the weights."""
    w = torch.tensor([4.0, 1, 2, -3, -1, 5, -2, -6])
    o, model = sloped(w, Ball(0.25), n=1)
    ATTACKS["signhunter"].bind(queries=16)(o)
    signs = torch.cat(model.asked).sub(0.5).div(0.25).round().long()
    pluses = ["".join("+" if s > 0 else "-" for s in row) for row in signs.tolist()]
    assert pluses == [
        "++++++++",
        "--------",
        "++++----", "++++++++",
        "--++----", "++------", "++--++--", "++--++++",
        "-+--++--", "+---++--", "+++-++--", "++++++--", "+++--+--", "+++-----", "+++--++-", "+++--+-+",
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(8,), (1, 3, 7), (2, 5, 5), (1,)])
def test_signhunter_reaches_the_best_corner_of_a_linear_model_in_one_round(shape: tuple[int, ...]) -> None:
    w = weights(*shape)
    o, model = sloped(w, Ball(0.25), n=1)
    ATTACKS["signhunter"].bind(queries=4 * w.numel() + 1)(o)
    values = torch.stack([(asked.flatten() - 0.5) @ w.flatten() for asked in model.asked])
    assert float(values.max()) == pytest.approx(0.25 * float(w.abs().sum()), rel=1e-5)


def test_signhunter_leaves_alone_what_the_mask_forbids() -> None:
    mask = torch.tensor([True, False, True, True, False, True])
    o, model = sloped(weights(6), Ball(0.25, mask=mask.tolist()), n=1)
    ATTACKS["signhunter"].bind(queries=30)(o)
    moved = torch.cat(model.asked) != 0.5
    assert (moved == mask).all()


# ---- estimates ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "sign"])
def test_differences_converge_to_the_gradient_of_a_linear_function(kind: str) -> None:
    """The mean over directions of (u.w) u, for E[u u^T] = 1, is w; its error falls as sqrt(features / probes)."""
    w = weights(3, 2, 2)
    o, _ = sloped(w, Ball(0.1), far=0.5)
    with attacking(o, Access.SCORE):
        purse, draw = Allowance(o, 10**6), lambda: getattr(o.noise, kind)(3, 2, 2)
        slope = two_sided(o, purse, o.x, draw, 3000, 0.01, margin)
        half, power = one_sided(o, purse, o.x, o.score(o.x), lambda: unit(draw()), 3000, 0.01, margin)
    for row in range(2):
        assert float(dot(slope, w.expand_as(slope))[row] / slope[row].norm() / w.norm()) > 0.98
        assert (slope[row] - w).norm() / w.norm() < 3 * math.sqrt(12 / 3000)
        assert float(half[row].flatten() @ w.flatten() / half[row].norm() / w.norm()) > 0.98
        assert float(12 * power[row]) == pytest.approx(float(w.square().sum()), rel=0.15), "unit directions see 1 / d of its squared norm"


def test_where_the_budget_ends_an_estimate_is_the_mean_of_what_was_answered() -> None:
    """Seven questions leave three pairs and one step."""
    w = weights(5)
    o, model = sloped(w, Ball(0.1), n=1, threat={"queries": 7})
    with attacking(o, Access.SCORE):
        slope = two_sided(o, Allowance(o, 100), o.x, lambda: o.noise.normal(5), 10, 0.01, margin)
        assert o.left.tolist() == [1]
    ends = torch.cat(model.asked)
    assert len(ends) == 6
    by_hand = torch.stack([((p - m) @ w) / 0.02 * (p - m) / 0.02 for p, m in ends.view(3, 2, 5)]).mean(0)
    assert torch.allclose(slope[0], by_hand, rtol=1e-2)


def test_symmetric_quotients_are_the_derivatives_asked_for() -> None:
    w = weights(2, 3, 3)
    o, _ = sloped(w, Ball(0.1), far=0.5)
    place = torch.tensor([[0, 17, 5, 9], [1, 2, 3, 4]])
    with attacking(o, Access.SCORE):
        slope, known = quotients(o, Allowance(o, 8), o.x.flatten(1), place, 0.05, margin)
    assert known.tolist() == [[True, True, True, False]] * 2, "eight questions, one kept for the step"
    assert torch.allclose(slope[:, :3], w.flatten()[place][:, :3], atol=1e-4)


def test_the_bandits_prior_turns_towards_the_gradient() -> None:
    w = weights(1, 4, 4)
    o, model = sloped(w, Ball(0.2, "l2"), n=1)
    bandits.bind(queries=600, tile=1)(o)
    middle = torch.stack(model.asked[-60:]).mean((0, 1)) - 0.5
    assert float((middle * w).sum() / middle.norm() / w.norm()) > 0.85


# ---- SimBA ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "name"), [((2, 3, 4), "dct"), ((1, 5, 5), "dct"), ((9,), "dct"), ((2, 3, 4), "pixel"), ((9,), "pixel")])
def test_a_basis_is_orthonormal_and_whole(shape: tuple[int, ...], name: str) -> None:
    features = math.prod(shape)
    basis = Basis(shape, name, 1.0, torch.arange(features))  # type: ignore[arg-type]
    assert basis.count == features
    v = basis.vectors(torch.arange(features)).flatten(1)
    assert torch.allclose(v @ v.T, torch.eye(features), atol=1e-5)


def test_low_frequencies_come_first_and_the_first_is_constant() -> None:
    basis = Basis((2, 8, 6), "dct", 0.25, torch.arange(96))
    assert basis.count == 2 * 2 * 2
    assert torch.allclose(basis.vectors(torch.tensor([0, 4]))[0, 0], torch.full((8, 6), 48**-0.5), atol=1e-6)
    assert (basis.vectors(torch.tensor([4]))[0, 0] == 0).all(), "the second half is in the second channel"


@pytest.mark.parametrize("name", ["pixel", "dct"])
def test_after_t_steps_the_change_is_at_most_a_step_times_the_root_of_t(name: str) -> None:
    o, model = sloped(weights(1, 6, 6), Ball(10.0, "l2", lo=-50, hi=50), n=1)
    ATTACKS["simba"].bind(queries=40, basis=name, step=0.1, frequencies=1.0)(o)
    value, steps = -math.inf, -1
    for x in list(model.asked):
        now = float(model(x)[0, 1].detach())
        if now > value:
            steps, value = steps + 1, now
            assert float((x - 0.5).norm()) <= 1.0 * math.sqrt(steps) + 1e-4
    assert steps > 15, "on a linear model one of both ways always helps"


def test_both_ways_tries_a_change_then_its_opposite_and_then_wants_another() -> None:
    o, _ = sloped(weights(3), Ball(0.4), n=2)
    with attacking(o, Access.SCORE):
        walk = BothWays(o, o.x, torch.tensor([0.0, 0.0]))
        change = torch.tensor([[0.1, 0.0, 0.0]]).expand(2, 3)
        walk.aim(change)
        point, moves = walk.propose()
        assert torch.allclose(point, o.x + change)
        assert moves.all()
        assert walk.told(torch.tensor([1.0, -1.0])).tolist() == [True, False]
        assert walk.fresh.tolist() == [True, False]
        walk.aim(torch.tensor([[0.0, 0.1, 0.0]]).expand(2, 3))
        point, _ = walk.propose()
        assert torch.allclose(point - o.x, torch.tensor([[0.1, 0.1, 0.0], [-0.1, 0.0, 0.0]]))
        assert walk.told(torch.tensor([0.5, -math.inf])).tolist() == [False, False]
        assert walk.fresh.tolist() == [False, True], "row 1 has tried both"
        assert torch.allclose(walk.s.x - o.x, torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_simba_asks_nothing_about_a_pixel_that_cannot_move() -> None:
    model = Slope(weights(1, 4, 4))
    x = torch.zeros(1, 1, 4, 4)
    o = Oracle(Torch(model), x, torch.tensor([0]), Threat("t", Ball(2.0, "l2"), access=Access.SCORE))
    model.asked.clear()
    ATTACKS["simba"].bind(queries=17)(o)
    asked = torch.cat(model.asked).flatten(1)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(asked, 2)), "black pixels are never made darker"


# ---- Sparse-RS ------------------------------------------------------------------------------------------------------------------------


@given(k=st.integers(1, 30), masked=st.booleans(), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_sparse_rs_changes_exactly_as_many_features_as_it_may_to_ends_of_their_range(k: int, masked: bool, seed: int) -> None:
    mask = (weights(24, seed=seed) > -1.0).tolist() if masked else None
    may = 24 if mask is None else sum(mask)
    o, model = sloped(weights(2, 3, 4), Ball(min(k, 24), "l0", lo=0.0, hi=1.0, mask=mask), seed=seed)
    ATTACKS["sparse-rs"].bind(queries=40)(o)
    for asked in model.asked:
        moved = (asked != 0.5).flatten(1)
        assert (moved.sum(1) == min(k, may)).all()
        assert torch.isin(asked[asked != 0.5], torch.tensor([0.0, 1.0])).all()
        if mask is not None:
            assert not moved[:, ~torch.tensor(mask)].any()


def test_sparse_rs_finds_the_best_features_of_a_linear_model() -> None:
    """By brute force over all pairs and both ends: half the two largest absolute weights."""
    w = weights(10)
    best = max(0.5 * (abs(float(w[i])) + abs(float(w[j]))) for i, j in itertools.combinations(range(10), 2))
    o, model = sloped(w, Ball(2, "l0"), n=3)
    ATTACKS["sparse-rs"].bind(queries=500)(o)
    found = torch.stack([(asked - 0.5) @ w for asked in model.asked]).amax(0)
    assert found.tolist() == pytest.approx([best] * 3, rel=1e-5)


def test_the_share_exchanged_follows_the_published_schedule() -> None:
    at = [exchanged(i, 10_000, 0.3, "published") for i in (0, 1, 50, 51, 201, 501, 1001, 2001, 4001, 6001, 8001, 9999)]
    assert at == [0.3 / d for d in (1, 2, 2, 4, 5, 6, 8, 10, 12, 15, 20, 20)]


# ---- the genetic search ---------------------------------------------------------------------------------------------------------------


def test_fitness_is_free_of_scale_and_shift_and_puts_the_best_first() -> None:
    fit = torch.tensor([[-3.0, -1.0, -2.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(fitness(fit), fitness(100 * fit - 7), atol=1e-5)
    assert fitness(fit)[0].argsort().tolist() == [0, 2, 1]
    assert torch.allclose(fitness(fit)[1], torch.full((3,), 1 / 3))
    unknown = fitness(torch.tensor([[-INF, -1.0, -2.0], [-INF, -INF, -INF]]))
    assert unknown[0, 0] == 0
    assert torch.isfinite(unknown).all()


def test_the_best_of_a_population_lives_on() -> None:
    w = weights(1, 6, 6)
    o, model = sloped(w, Ball(0.2), n=1)
    ATTACKS["genetic"].bind(queries=301)(o)
    values = torch.cat([asked.flatten(1) - 0.5 for asked in model.asked]) @ w.flatten()
    assert float(values[-50:].max()) > 0.8 * 0.2 * float(w.abs().sum())
    assert float(values[:6].max()) < 0.6 * 0.2 * float(w.abs().sum())


def test_the_grain_of_a_ball_made_to_all_features_has_norm_eps() -> None:
    for kind in ("linf", "l2"):
        o, _ = sloped(weights(2, 3, 3), Ball(0.3, kind))
        assert float(o.ball.distance(o.x, o.x + grain(o))[0]) == pytest.approx(0.3, rel=1e-5)


# ---- Square ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 6)])
def test_square_asks_about_no_point_where_it_stands(kind: str, shape: tuple[int, ...]) -> None:
    w = weights(*shape)
    o, model = sloped(w, Ball(8.0 if kind == "l1" else 0.4, kind), n=1)
    ATTACKS["square"].bind(queries=300)(o)
    at, value = None, -math.inf
    for asked in model.asked:
        assert at is None or not torch.equal(asked, at)
        now = float((asked - 0.5).flatten() @ w.flatten()) - 1000
        if now > value:
            at, value = asked, now
