"""Attacks with a surrogate of the attacker's own besides: what they ask, in which order, and what they make of the surrogate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import attacking
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.attacks.evasion.score.p_rgf import best_trust
from vauban.attacks.parts.losses import margin
from vauban.attacks.parts.priors import members, transferred
from vauban.doors import Oracle
from vauban.target import Mean, Own, Surrogate, Torch
from vauban.threat import Access, Ball, Threat


class Linear(nn.Module):
    """Scores W (x - 1/2) + b; it keeps what it is asked."""

    def __init__(self, w: Tensor, b: Tensor) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(w), nn.Parameter(b)
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        return (x - 0.5).flatten(1) @ self.w.T + self.b


class Flat(Linear):
    """Answers the same whatever it is asked."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0 + self.b


def random_w(seed: int, classes: int = 3, features: int = 12) -> Tensor:
    return torch.randn(classes, features, generator=torch.Generator().manual_seed(seed))


def sieged(target: Linear, surrogate: Surrogate, ball: Ball, n: int = 1, **fields: object) -> Oracle:
    """An oracle over n inputs of 1/2 each, of class 0."""
    threat = Threat("t", ball, access=Access.SCORE, **fields)  # type: ignore[arg-type]
    x = torch.full((n, target.w.shape[1]), 0.5)
    o = Oracle(Torch(target, outputs="logits"), x, torch.zeros(n, dtype=torch.long), threat, surrogate=surrogate)
    target.asked.clear()
    return o


FAR = torch.tensor([1000.0, 0.0, -1.0])
"""Class 0 by far, and the runner-up is class 1."""


def outside(moves: Tensor, w: Tensor) -> Tensor:
    """How much of each move (k, d) lies outside what the rows of w (m, d) span, as a share of it."""
    q = torch.linalg.qr(w.detach().T).Q
    return (moves - moves @ q @ q.T).norm(dim=1) / moves.norm(dim=1).clamp_min(1e-12)


def owned(model: nn.Module) -> Own:
    return Own(Torch(model, outputs="logits"))


# ---- GFCS -----------------------------------------------------------------------------------------------------------------------------


def test_gfcs_asks_both_ways_along_each_surrogate_s_gradient_and_then_diversely() -> None:
    """A target that never answers otherwise: every direction is tried forwards and backwards, the gradients of both surrogates first."""
    one, two = Linear(random_w(1), FAR), Linear(random_w(2), FAR)
    target = Flat(random_w(0), FAR)
    o = sieged(target, Mean([owned(one), owned(two)]), Ball(0.5, "l2"))
    ATTACKS["gfcs"].bind(queries=11, step=0.2)(o)
    asked = torch.cat(target.asked) - 0.5
    assert len(asked) == 11
    assert (asked[0] == 0).all()
    assert torch.allclose(asked[1::2], -asked[2::2], atol=1e-6)
    assert torch.allclose(asked[1:].norm(dim=1), torch.full((10,), 0.1), rtol=1e-3)
    tried = {tuple(round(v, 4) for v in row.tolist()) for row in asked[[1, 3]]}
    leads = [m.w.detach()[1] - m.w.detach()[0] for m in (one, two)]
    assert tried == {tuple(round(v, 4) for v in (0.1 * w / w.norm()).tolist()) for w in leads}, "the margin's gradient of each, once"
    off = torch.stack([outside(asked[5:], m.w) for m in (one, two)])
    assert off.amin(0).max() < 1e-4, "after them, each a mixture of one surrogate's score gradients"


def test_gfcs_needs_at_most_two_questions_an_iteration() -> None:
    """An iteration begins with a gradient of the surrogate: as many gradients as iterations."""
    for seed in range(3):
        surrogate = Linear(random_w(seed + 10), FAR)
        o = sieged(Linear(random_w(seed), FAR), owned(surrogate), Ball(0.3), n=4)
        surrogate.asked.clear()
        ATTACKS["gfcs"].bind(queries=41)(o)
        iterations = sum(len(asked) for asked in surrogate.asked)
        assert int(o.outcome.queries.sum()) - 4 <= 2 * iterations


def test_gfcs_goes_back_to_the_gradients_after_every_success() -> None:
    """The surrogate is the target: its gradient always helps, so every question is one step along it until the ball ends."""
    w = random_w(3)
    target = Linear(w, FAR)
    o = sieged(target, owned(Linear(w, FAR)), Ball(0.4, "l2"))
    ATTACKS["gfcs"].bind(queries=5, step=0.25)(o)
    moves = (torch.cat(target.asked) - 0.5)[1:]
    lead = (w[1] - w[0]) / (w[1] - w[0]).norm()
    assert torch.allclose(moves, torch.arange(1, 5)[:, None] * 0.1 * lead, atol=1e-3)


def test_the_runner_up_is_the_target_s_not_the_surrogate_s() -> None:
    w = random_w(4)
    target, surrogate = Flat(w, torch.tensor([1000.0, 0.0, 5.0])), Linear(w, FAR)
    o = sieged(target, owned(surrogate), Ball(0.4, "l2"))
    ATTACKS["gfcs"].bind(queries=2)(o)
    move, lead = target.asked[1][0] - 0.5, w[2] - w[0]
    assert torch.allclose(move / move.norm(), lead / lead.norm(), atol=1e-4)


def test_simba_ods_only_moves_within_the_surrogate_s_coverage() -> None:
    surrogate = Linear(random_w(5), FAR)
    target = Linear(random_w(6), FAR)
    o = sieged(target, owned(surrogate), Ball(0.3, "l2", lo=-9, hi=9), n=3)
    ATTACKS["simba-ods"].bind(queries=60)(o)
    moves = torch.cat(target.asked) - 0.5
    assert outside(moves, surrogate.w).max() < 1e-3


# ---- P-RGF ----------------------------------------------------------------------------------------------------------------------------


@given(a=st.floats(0, 1), d=st.integers(3, 4000), q=st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_the_trust_in_the_prior_maximises_the_quality_of_the_estimate(a: float, d: int, q: int) -> None:
    """Brute force over lambda of equation 7: (g'Cg)^2 / ((1 - 1/q) g'C^2 g + g'Cg / q), for C = lambda vv' + (1 - lambda)/(d - 1) (I - vv')."""
    share = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    rest = (1 - share) / (d - 1)
    first, second = share * a + rest * (1 - a), share**2 * a + rest**2 * (1 - a)
    quality = first.square() / ((1 - 1 / q) * second + first / q).clamp_min(1e-300)
    chosen = float(best_trust(torch.tensor(a, dtype=torch.float64), d, q))
    rest_of = (1 - chosen) / (d - 1)
    one, two = chosen * a + rest_of * (1 - a), chosen**2 * a + rest_of**2 * (1 - a)
    reached = one**2 / max((1 - 1 / q) * two + one / q, 1e-300)
    assert reached >= float(quality.max()) * (1 - 1e-6)


def test_a_perfect_prior_saves_the_probes() -> None:
    """Cosine 1: a step costs one question to see how good the prior is, and one for where it led; the norm ten at first."""
    w = random_w(7)
    o = sieged(Linear(w, FAR), owned(Linear(w, FAR)), Ball(0.3, "l2", lo=-9, hi=9))
    ATTACKS["p-rgf"].bind(queries=20, reach=0.5)(o)
    kinds = {kind: int(n[0]) for kind, n in o.outcome.kinds.items() if int(n[0])}
    assert kinds["step"] >= 3, kinds


def test_a_prior_that_points_the_wrong_way_is_turned_round() -> None:
    w = random_w(8)
    target = Linear(w, FAR)
    o = sieged(target, owned(Linear(-w, FAR)), Ball(0.3, "l2", lo=-9, hi=9))
    ATTACKS["p-rgf"].bind(queries=60)(o)
    gained = (torch.cat(target.asked) - 0.5) @ (w[1] - w[0])
    assert float(gained.max()) > 0.95 * 0.3 * float((w[1] - w[0]).norm())


def test_probes_of_ods_rgf_lie_in_the_surrogate_s_coverage() -> None:
    surrogate, target = Linear(random_w(9), FAR), Linear(random_w(10), FAR)
    o = sieged(target, owned(surrogate), Ball(0.3, "l2", lo=-9, hi=9))
    ATTACKS["ods-rgf"].bind(queries=80)(o)
    moves = torch.cat(target.asked)[1 + 10 :] - 0.5  # the clean input, and ten free probes of the norm
    assert len(moves) > 50
    assert outside(moves, surrogate.w).median() < 1e-3


# ---- Square from a transfer candidate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
def test_a_good_surrogate_needs_one_question(kind: str) -> None:
    w = random_w(11)
    lead = w[1] - w[0]
    size = {"linf": float(lead.abs().sum()), "l2": float(lead.norm()), "l1": float(lead.abs().max())}[kind] * 0.3
    near = torch.tensor([0.9 * size, 0.0, -1000.0])
    o = sieged(Linear(w, near), owned(Linear(w, near)), Ball(0.3, kind))
    ATTACKS["square-transfer"].bind()(o)
    assert o.outcome.first.tolist() == [1]
    assert {kind: int(n[0]) for kind, n in o.outcome.kinds.items() if int(n[0])} == {"initial": 1}


def test_the_search_starts_from_the_better_of_the_candidate_and_its_own_start() -> None:
    w = random_w(12, features=100)
    for surrogate, number in ((Linear(w, FAR), 0), (Linear(-w, FAR), 1)):
        target = Linear(w, FAR)
        o = sieged(target, owned(surrogate), Ball(0.1))
        ATTACKS["square-transfer"].bind(queries=3, p_init=0.05)(o)
        candidate, start, third = (asked[0] for asked in target.asked)
        stood = (candidate, start)[number]
        assert 1 <= int((third != stood).sum()) <= 5, "one window away from where it stands"
        assert int((third != (start, candidate)[number]).sum()) > 5


def test_the_candidate_is_mi_fgsm_s_and_costs_no_question() -> None:
    w = random_w(13)
    o = sieged(Linear(w, FAR), owned(Linear(w, FAR)), Ball(0.1))
    with attacking(o, Access.SCORE):
        found = transferred(o, loss=margin)
    assert torch.allclose(found - o.x, 0.1 * (w[1] - w[0]).sign()[None], atol=1e-6)
    assert int(o.outcome.queries.sum()) == 0


def test_members_of_a_mean_are_taken_one_by_one() -> None:
    one, two = owned(Linear(random_w(1), FAR)), owned(Linear(random_w(2), FAR))
    assert members(Mean([one, two])) == (one, two)
    assert all(isinstance(m, Own) and m.access is Access.NONE for m in members(Own(Mean([one, two]))))
    assert members(one) == (one,)
    assert math.isclose(len(members(Own(Mean([one, two])))), 2)
