"""When a row is done: at its first success, never while the nearest is sought, and without judging in an inner loop."""

from __future__ import annotations

import pytest
import torch
from spine import FAR, Counting, Touched, attacking, lit, siege
from worlds import Halfspace, rows

from vauban.attacks import ATTACKS, cw_l2, ddn, fgsm, pgd, targeted_fgsm
from vauban.threat import INF, Access, Ball


def test_first_drops_settled_rows_from_every_later_pass() -> None:
    model = Counting()
    o = siege(model)
    s = o.rows(x=o.x, mark=torch.arange(5))
    o.fooled(lit(o, 1, 3))
    assert len(o) == 5, "rows are dropped at the next turn, not in the middle of one"
    assert not o.fooled(lit(o, 1, 3)).any(), "a settled row is not asked again"
    for _ in o.steps(1):
        assert s.mark.tolist() == [0, 2, 4]
        assert len(o) == len(o.x) == len(o.inputs) == len(o.aim.y) == len(o.noise) == len(o.limits[0]) == 3
        o.fooled(o.x)
    assert o.outcome.queries.tolist() == [3, 1, 3, 1, 3]
    assert model.forwards == 5 + 3 + 3


def test_nearest_goes_on_and_keeps_the_nearest() -> None:
    o = siege(settle="nearest")
    for d in (0.3, 0.2, 0.25, 0.12):
        assert o.fooled(o.x + d).all()
    assert torch.allclose(o.distance, torch.full((5,), 0.12, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(o.best, o.x + 0.12)
    assert o.outcome.first.tolist() == [1] * 5
    assert o.live


def test_nearest_keeps_what_lies_beyond_the_radius_without_calling_it_broken() -> None:
    o = siege(ball=Ball(0.05), settle="nearest")
    with attacking(o, minimal=True):
        assert o.ball.eps == INF
        assert o.eps == 0.05
        assert o.fooled(o.x + 0.12).all()
    r = o.outcome
    assert not r.broken.any()
    assert r.nearest.all()
    assert r.first.tolist() == [-1] * 5
    assert torch.allclose(r.best, rows()[0] + 0.12)


def test_an_example_beyond_the_radius_survives_the_wall_of_the_box() -> None:
    """1.1 in float32 lies beyond 1.1: an example clamped to the wall must not be pulled into the judged radius."""
    x, y = torch.full((3, 2), 0.3), torch.zeros(3, dtype=torch.long)
    o = siege(Touched(x), Ball(0.1, "l2", lo=-0.1, hi=1.1), x=x, y=y, settle="nearest")
    assert float(o.limits[1][0, 0]) > 1.1
    with attacking(o, minimal=True):
        assert o.fooled(torch.full((3, 2), 1.1)).all()
    assert torch.allclose(o.outcome.distance, torch.full((3,), 0.8 * 2**0.5, dtype=torch.float64))
    o = siege(Touched(x), Ball(0.1, "l2"), x=x, y=y, settle="nearest")
    with attacking(o, minimal=True):
        assert o.fooled(torch.full((3, 2), -5e-8)).all(), "a rounding beyond the wall is put back on it"
        assert not o.fooled(torch.full((3, 2), -1e-6)).any()
    assert (o.outcome.best == 0).all()


def test_an_example_a_hair_beyond_the_radius_is_kept_if_only_there_it_wins() -> None:
    x = torch.tensor([[0.3]])

    class Beyond(torch.nn.Module):
        def forward(self, v: torch.Tensor) -> torch.Tensor:
            far = (v[:, 0].double() - x.double()[0, 0] > 0.1).float()
            return torch.stack([1 - far, far], 1)

    o = siege(Beyond(), Ball(0.1), x=x, y=torch.tensor([0]), settle="nearest")
    probe = x + 0.1
    while float(probe.double() - x.double()) <= 0.1:
        probe = torch.nextafter(probe, torch.tensor(1.0))
    with attacking(o, minimal=True):
        assert o.fooled(probe).all()
    assert o.outcome.nearest.all()
    assert not o.outcome.broken.any()
    o = siege(Beyond(), Ball(0.1), x=x, y=torch.tensor([0]))
    assert not o.fooled(probe).any(), "at a fixed radius it is outside"


def test_curve_gives_every_attacked_row_its_distance() -> None:
    """Rows that a fixed-radius attack has broken are gone on with by the minimum-norm one; misclassified rows stay at 0."""
    model, x = Halfspace(), rows()[0]
    y = torch.tensor([0, 0, 1, 0, 0])
    for curve in (True, False):
        o = siege(model, Ball(1.0, "l2"), y=y, curve=curve)
        pgd(o, steps=20)
        before = o.outcome.distance.clone()
        assert (before[[0, 1, 3]] > model.smallest(x, 2.0)[[0, 1, 3]] * 1.1).all()
        ddn(o, steps=100)
        r = o.outcome
        assert r.distance[2] == 0
        assert r.queries[2] == 0
        near = r.distance <= model.smallest(x, 2.0) * 1.02
        assert near.tolist() == ([True] * 5 if curve else [False, False, True, False, False])
        assert o.book.attempts[1].before.tolist() == [True, True, True, True, True]
        assert r.by.tolist() == [0, 0, -1, 0, 0], "who broke it first is remembered"


def test_a_fixed_radius_attack_leaves_broken_rows_alone_under_curve() -> None:
    model = Counting()
    o = siege(model, curve=True)
    o.fooled(lit(o, 0, 1, 2, 3, 4))
    model.reset()
    pgd(o)
    assert model.forwards == 0


def test_worst_does_not_judge_charges_nothing_and_keeps_the_last_point() -> None:
    model = Counting()
    o = siege(model, threat={"queries": 1, "gradients": 1}, settle="worst")
    with attacking(o):
        for i in range(1, 4):
            value, _, believed = o.explore(o.x + 0.1 * i)
            assert torch.isfinite(value).all()
        assert believed.all(), "by the model itself, unverified"
        assert not o.fooled(o.project(o.x + 0.35)).any()
        assert torch.isfinite(o.score(o.x + 0.2)).all()
        assert o.logits(o.x + 0.2).shape == (5, 3)
        o.submit(o.x + 0.33)
    r = o.outcome
    assert torch.allclose(r.best, rows()[0] + 0.33)
    assert not r.broken.any()
    assert (r.queries == 0).all()
    assert (r.gradients == 0).all()
    assert model.forwards == 25, "a verdict alone costs no pass"
    a = o.book.attempts[0]
    assert (a.forwards, a.backwards) == (25, 15)


def test_worst_keeps_the_last_probe_of_each_row_that_was_asked() -> None:
    o = siege(settle="worst")
    o.submit(torch.stack([o.x + 0.2, o.x + 0.1]))
    o.submit(o.x + 0.3, torch.tensor([True, False, False, False, True]))
    expected = torch.tensor([0.3, 0.1, 0.1, 0.1, 0.3]).view(5, 1, 1, 1)
    assert torch.allclose(o.outcome.best, rows()[0] + expected)


@pytest.mark.parametrize("attack", [pgd.bind(steps=3), fgsm.bind(), targeted_fgsm.bind(), ddn.bind(steps=5), cw_l2.bind(steps=5, searches=2, rate=0.5)],
                         ids=lambda a: a.name)  # fmt: skip
def test_an_inner_loop_ends_inside_the_threat(attack: object) -> None:
    """Also after an attack that has no radius of its own: what is trained on is what the threat allows."""
    name = attack.name  # type: ignore[attr-defined]
    kind = "l2" if "l2" in ATTACKS[name].facts.on else "linf"
    x, y = rows()
    o = siege(ball=Ball(0.1, kind), y=torch.ones_like(y), settle="worst")
    attack(o)  # type: ignore[operator]
    r = o.outcome
    assert (o.space.body.distance(x, r.best) <= 0.1).all()
    if name != "cw-l2":  # for which no change is the smallest one that wins
        assert (o.space.body.distance(x, r.best) > 0).all(), "misclassified rows are attacked too: training needs all of them"


def test_outside_an_attack_the_door_is_open_too() -> None:
    o = siege(ball=FAR, threat={"access": Access.LABEL})
    assert o.fooled(o.project(o.x + 0.3)).all()
    assert o.outcome.by.tolist() == [-1] * 5
