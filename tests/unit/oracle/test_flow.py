"""Turns, restarts, leaving, time, and attacks inside attacks."""

from __future__ import annotations

import time

import pytest
import torch
from spine import FAR, NEAR, attacking, lit, siege

from vauban.attacks import ddn, fgsm, pgd
from vauban.threat import INF, Access, Ball


def test_every_attack_restart_and_row_has_noise_of_its_own() -> None:
    o = siege(ball=NEAR)
    seen: list[torch.Tensor] = []
    for name in ("a", "b", "a"):
        with attacking(o, name=name):
            for _ in o.restarts(3):
                seen.extend([o.noise.uniform(4), o.noise.uniform(4)])
    values = torch.stack(seen)
    assert values.shape == (18, 5, 4)
    assert len(values.unique()) == values.numel()
    assert [a.name for a in o.book.attempts] == ["a", "b", "a#2"]


def test_restarts_give_a_row_the_same_noise_whoever_else_is_left() -> None:
    def starts(settled: int | None) -> torch.Tensor:
        o = siege()
        with attacking(o):
            noise = []
            for i in o.restarts(3):
                noise.append(o.noise.uniform(2)[-1])
                if i == 0 and settled is not None:
                    o.fooled(lit(o, settled))
            return torch.stack(noise)

    assert torch.equal(starts(None), starts(1))


def test_rows_that_leave_are_dropped_and_left_to_the_next_attack() -> None:
    o = siege(ball=NEAR)
    with attacking(o):
        for i in o.steps(3):
            o.fooled(o.x)
            if i == 0:
                o.leave(torch.tensor([True, False, False, True, False]))
    assert o.outcome.queries.tolist() == [1, 3, 3, 1, 3]
    with attacking(o):
        assert len(o) == 5
        for _ in o.steps(1):
            o.fooled(o.x)
    assert o.outcome.queries.tolist() == [2, 4, 4, 2, 4]


def test_a_loop_ends_when_all_rows_left_or_are_settled() -> None:
    o = siege()
    with attacking(o):
        turns = 0
        for _ in o.steps(10):
            turns += 1
            o.fooled(lit(o, 0, 1))
            o.leave(torch.ones(len(o), dtype=torch.bool))
    assert turns == 1
    with attacking(o):
        assert len(o) == 3
        assert o.live


def test_state_goes_with_its_rows_and_an_unknown_name_is_an_error() -> None:
    o = siege()
    s = o.rows(a=torch.arange(5), b=torch.arange(10).view(5, 2))
    s.c = torch.arange(5) * 10
    o.fooled(lit(o, 1))
    for _ in o.steps(1):
        assert (s.a.tolist(), s.b[:, 0].tolist(), s.c.tolist()) == ([0, 2, 3, 4], [0, 4, 6, 8], [0, 20, 30, 40])
    with pytest.raises(AttributeError, match="no state 'd' was registered; it has a, b, c"):
        _ = s.d


def test_what_an_attack_reads_is_narrowed_together() -> None:
    ids = torch.tensor([10, 11, 12, 13, 14])
    o = siege(ball=Ball([0.4][0]), ids=ids)
    o.fooled(lit(o, 0, 3))
    for _ in o.steps(1):
        assert torch.equal(o.noise.ids, torch.tensor([11, 12, 14]))
        assert torch.equal(o.best, o.x)
        assert (o.distance == INF).all()
        assert torch.equal(o.limits[0], (o.x - 0.4).clamp_min(0).to(o.x)) or torch.allclose(o.limits[0], (o.x - 0.4).clamp_min(0))
        assert torch.allclose(o.project(o.x + 9), (o.x + 0.4).clamp_max(1))


def test_a_time_limit_ends_every_loop_and_says_so() -> None:
    o = siege(ball=NEAR, deadline=time.monotonic() - 1)
    pgd(o, steps=50, restarts=3)
    assert (o.outcome.queries == 0).all()
    assert o.book.attempts[0].stopped == "time limit"
    o = siege(ball=NEAR, deadline=time.monotonic() + 60)
    pgd(o, steps=2)
    assert o.book.attempts[0].stopped == ""


def test_an_attack_inside_another_gives_the_outer_view_back() -> None:
    o = siege(threat={"queries": 50})
    with attacking(o, name="outer"):
        s = o.rows(i=torch.arange(5))
        o.fooled(o.x)
        before = o.noise.uniform(3)
        with attacking(o, minimal=True, name="inner"):
            assert o.ball.eps == INF
            assert len(o) == 5
            o.fooled(lit(o, 2))
            assert not torch.equal(before, o.noise.uniform(3))
        assert o.ball.eps == FAR.eps
        assert len(o) == 5
        assert o.fooled(lit(o, 1, 2)).tolist() == [False, True, False, False, False], (
            "row 2 fell to the inner attack: it is settled here too"
        )
        for _ in o.steps(1):
            assert s.i.tolist() == [0, 3, 4]
            o.fooled(o.project(o.x + 0.3))
    r = o.outcome
    assert r.by.tolist() == [0, 0, 1, 0, 0], "each row is credited to the attack that asked"
    assert r.queries.tolist() == [4, 3, 2, 4, 4]
    assert r.first.tolist() == [4, 3, 2, 4, 4]
    assert [a.forwards for a in o.book.attempts] == [5 + 4 + 3, 5]


def test_an_inner_attack_does_not_settle_what_an_outer_search_still_improves() -> None:
    o = siege(ball=Ball(2.0, "l2"), curve=True)
    with attacking(o, minimal=True, name="search"):
        fgsm(o)
        assert o.outcome.broken.all()
        assert o.live, "a minimum-norm search goes on with broken rows"
        assert o.fooled(o.x + 0.15).all()
    assert o.outcome.by.tolist() == [1] * 5


def test_after_an_exception_the_door_is_as_before() -> None:
    o = siege()
    view = o.x
    with pytest.raises(ZeroDivisionError), attacking(o, Access.LABEL, minimal=True):
        o.fooled(lit(o, 0))
        _ = 1 // 0
    assert o.ball.eps == FAR.eps
    assert o.x is view
    assert o.outcome.broken.tolist() == [True, False, False, False, False]
    assert o.book.attempts[0].seconds > 0
    ddn_like = siege(ball=Ball(3.0, "l2"))
    ddn(ddn_like, steps=20)
    assert ddn_like.outcome.broken.all()
