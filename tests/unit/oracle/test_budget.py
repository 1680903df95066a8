"""Budgets: what a counting model sees is what is charged, row by row, and never more than was granted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import FAR, NEAR, Counting, attacking, lit, siege
from worlds import small, world

from vauban.attacks import ATTACKS, fgsm, pgd
from vauban.doors import Oracle
from vauban.target import Expectation, Own, StraightThrough, Torch
from vauban.threat import INF, Access

KINDS = ["submit", "fooled", "score", "logits", "ascend", "explore", "jacobian"]
ACTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.lists(st.booleans(), min_size=5, max_size=5)), max_size=6)


def ask(o: Oracle, kind: str, probes: int, marks: list[bool], v: torch.Tensor) -> None:
    """One question on the rows in view, with `probes` probes (0: without the dimension)."""
    getattr(o, kind)(v.expand(probes, *v.shape) if probes else v, where=torch.tensor(marks))


@given(ACTS, st.sampled_from([0, 1, 2, 3, 5, INF]), st.sampled_from([0, 1, 3, 4, INF]), st.booleans(), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_the_model_sees_what_is_charged_and_never_more_than_granted(
    acts: list[tuple[str, int, list[bool]]], queries: float, gradients: float, win: bool, max_rows: int
) -> None:
    model = Counting()
    o = siege(model, FAR if win else NEAR, threat={"queries": queries, "gradients": gradients}, max_rows=max_rows)
    with o.attacking("a", Access.GRADIENT) as attempt:
        for i, (kind, probes, marks) in enumerate(acts):
            ask(o, kind, probes, marks, lit(o, i % 5) if win else o.x)
    r = o.outcome
    assert model.forwards == int(r.queries.sum()) == attempt.forwards
    assert model.backwards == int(r.gradients.sum()) == attempt.backwards
    assert (r.queries <= queries).all()
    assert (r.gradients <= gradients).all()
    assert (r.first <= r.queries).all()
    assert torch.equal(r.first > 0, r.broken)
    assert torch.equal(torch.stack(list(r.kinds.values())).sum(0), r.queries), "every question is of one kind"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=4), st.integers(0, 8))
@settings(max_examples=50, deadline=None)
def test_attacks_of_a_cascade_share_the_budget_and_each_keeps_its_share(spans: list[tuple[int, int]], budget: int) -> None:
    model = Counting()
    o = siege(model, NEAR, threat={"queries": budget})
    spent = 0
    for share, wish in spans:
        with attacking(o, queries=share):
            for _ in o.steps(wish):
                o.fooled(o.x)
        spent += min(share, wish, budget - spent)
        assert (o.outcome.queries == spent).all()
    assert model.forwards == 5 * spent


def test_shares_nest() -> None:
    """A suite is itself an attack: the attacks inside it cannot spend more than it was given."""
    model = Counting()
    o = siege(model, NEAR, threat={"queries": 10})
    with attacking(o, queries=4, name="suite"):
        with attacking(o, queries=3):
            for _ in o.steps(9):
                o.fooled(o.x)
        assert (o.outcome.queries == 3).all()
        with attacking(o):
            o.fooled(o.x.expand(9, *o.x.shape))
        assert (o.outcome.queries == 4).all()
        o.fooled(o.x)
        assert (o.outcome.queries == 4).all()
    o.fooled(o.x)
    assert (o.outcome.queries == 5).all()
    assert model.forwards == 25


def test_a_loop_ends_when_the_budget_does() -> None:
    for what in ("queries", "gradients"):
        o = siege(ball=NEAR, threat={what: 3})
        with attacking(o):
            assert sum(1 for _ in o.steps(50) if o.ascend(o.x)) == 3, what


def test_gradients_of_a_jacobian_are_all_charged_or_none_is_taken() -> None:
    model = Counting()
    o = siege(model, NEAR, threat={"gradients": 7})
    o.jacobian(o.x.expand(4, *o.x.shape))
    assert (o.outcome.gradients == 6).all()
    assert (o.outcome.queries == 2).all()
    assert model.backwards == 30


@pytest.mark.parametrize("name", ["pgd", "cw-l2", "deepfool", "jsma", "ead", "fmn", "spatial", "contrast", "targeted-fgsm"])
@pytest.mark.parametrize("win", [True, False])
def test_an_attempt_counts_the_passes_that_hooks_count(name: str, win: bool) -> None:
    attack = small(name)
    w = world(attack.facts.on[0])
    model = Counting(w.target.model)
    o = Oracle(Torch(model, outputs="logits"), w.x, w.y, w.threat(attack, 1.6 if win else 0.6))
    model.reset()
    attack(o)
    done = o.book.attempts[0]
    assert (done.forwards, done.backwards) == (model.forwards, model.backwards)
    assert (done.surrogate_forwards, done.surrogate_backwards) == (0, 0)
    assert done.name == name
    assert done.rows.tolist() == [0, 1, 2, 3, 4]
    assert done.seconds > 0


def test_passes_of_a_surrogate_are_counted_as_its_own() -> None:
    model, own = Counting(), Counting()
    o = siege(model, NEAR, surrogate=Own(Expectation(Torch(own, outputs="logits"), draws=3)))
    with attacking(o):
        o.ascend(o.x)
        o.jacobian(o.x)
        o.submit(o.x)
    a = o.book.attempts[0]
    assert (a.surrogate_forwards, a.forwards, a.backwards) == (own.forwards, model.forwards, 0) == (30, 15, 0)
    assert a.surrogate_backwards == own.backwards == 15 + 45


@pytest.mark.parametrize("settle", ["first", "worst"])
def test_a_stand_in_around_the_target_costs_passes_of_the_target(settle: str) -> None:
    model = Counting()
    target = Torch(model, outputs="logits")
    o = siege(target, NEAR, surrogate=StraightThrough(torch.round, target), settle=settle)
    model.reset()
    with attacking(o):
        o.ascend(o.x)
    a = o.book.attempts[0]
    assert (a.forwards, a.backwards) == (model.forwards, model.backwards) == ((10, 5) if settle == "first" else (5, 5))


def test_an_expectation_over_the_target_counts_every_pass_of_it() -> None:
    model = Counting()
    target = Torch(model, outputs="logits")
    o = siege(target, NEAR, surrogate=Expectation(target, draws=3))
    model.reset()
    with attacking(o):
        o.ascend(o.x)
        o.jacobian(o.x)
    a = o.book.attempts[0]
    assert (a.forwards, a.backwards) == (model.forwards, model.backwards) == (2 * (15 + 5), 15 + 45)


def test_rows_out_of_budget_do_not_stop_the_others() -> None:
    """A first attack spent unevenly; restarts of the next one still know whose noise is whose."""
    o = siege(ball=NEAR, threat={"queries": 6})
    with attacking(o):
        for _ in range(6):
            o.fooled(o.x, torch.tensor([True, False, True, False, False]))
    pgd(o, steps=2, restarts=2)
    assert o.outcome.queries.tolist() == [6, 6, 6, 6, 6]
    assert o.book.attempts[1].forwards == 18


def test_a_share_of_nothing_asks_nothing() -> None:
    o = siege(threat={"queries": 6})
    fgsm.bind().spending(0)(o)
    assert (o.outcome.queries == 0).all()
    assert not o.outcome.broken.any()
    assert ATTACKS["fgsm"].bind().queries == INF
