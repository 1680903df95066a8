"""OARS against services that remember: the noise it finds where the answer is known, what it asks again and what it drops, and what it wins."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarks.guard import Blacklight, remembered
from torch import Tensor
from worlds import Halfspace

from vauban.attacks import ATTACKS, find
from vauban.attacks.evasion.stateful.oars import evasive
from vauban.attacks.parts.dithered import WIDER, Dithered
from vauban.doors import Oracle
from vauban.target import Target, Torch
from vauban.threat import Access, Ball, Threat

PAIRS = [("square", "linf", 0.05), ("nes", "linf", 0.05), ("nes", "l2", 0.5), ("hop-skip-jump", "l2", 0.5)]


class Near(Target):
    """Refuses what lies within a root mean square of `least` of anything it was asked before."""

    access = Access.SCORE
    refuses = True
    name = "near"

    def __init__(self, least: float, shape: tuple[int, ...] = (400,)) -> None:
        self.least, self.inner = least, Torch(Halfspace(shape), outputs="logits")
        self.seen: list[Tensor] = []

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        passed: list[bool] = []
        for row in x:
            passed.append(all(float((row - old).square().mean().sqrt()) > self.least for old in self.seen))
            self.seen.append(row.clone())
        return torch.where(torch.tensor(passed)[:, None], self.inner.scores(x), torch.nan)


def near(least: float, *, eps: float = 0.5, queries: float = math.inf, norm: str = "linf") -> tuple[Oracle, Near]:
    """An oracle over one grey input of 400 features."""
    service = Near(least)
    threat = Threat("t", Ball(eps, norm), access=Access.SCORE, queries=queries)
    return Oracle(service, torch.full((1, 400), 0.4), torch.zeros(1, dtype=torch.long), threat), service


# ---- tuning ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("least", [0.01, 0.04, 0.2])
def test_the_noise_found_is_the_least_that_passes(least: float) -> None:
    """The nearest earlier question is the clean input, and noise of scale s lies at a root mean square of s from it."""
    o, service = near(least)
    with o.attacking("test", Access.SCORE):
        seen = Dithered(o, 3)
        seen.tune(rounds=8, looks=5, refusals=0)
        assert least * 0.95 < float(seen.scale) < least * 1.2
    assert len(service.seen) == 1 + 1 + 8 * 5, "the referee's, the first one, and the bisection"
    assert int(o.outcome.queries) == 1 + 8 * 5
    assert int(o.outcome.refused) >= 1 + 5


def test_no_noise_where_the_service_remembers_nothing() -> None:
    o, _ = near(-1.0)
    with o.attacking("test", Access.SCORE):
        seen = Dithered(o, 3)
        seen.tune(rounds=6, looks=5, refusals=0.05)
        assert float(seen.scale) == 0
        v = o.x + 0.01
        assert torch.equal(seen.score(v), o.score(v))
    assert int(o.outcome.queries) == 1 + 2


def test_the_most_noise_where_nothing_passes() -> None:
    """The radius itself, in L2 spread over all features."""
    for norm, most in (("linf", 0.5), ("l2", 0.5 / 20)):
        o, _ = near(9.0, norm=norm)
        with o.attacking("test", Access.SCORE):
            seen = Dithered(o, 3)
            seen.tune(rounds=6, looks=5, refusals=0.05)
            assert float(seen.scale) == pytest.approx(most)


@pytest.mark.parametrize("budget", [0, 1, 2, 7])
def test_tuning_keeps_to_the_budget(budget: int) -> None:
    o, service = near(0.04, queries=budget)
    find("oars-square").bind()(o)
    assert len(service.seen) == 1 + budget
    assert int(o.outcome.queries) == budget


# ---- questions ------------------------------------------------------------------------------------------------------------------------


def told(o: Oracle, tries: int, scale: float = 0.02) -> Dithered:
    """An oracle seen with noise of a known scale."""
    seen = Dithered(o, tries)
    seen._s.scale = torch.full((len(o),), scale)
    return seen


def test_a_refused_question_is_asked_again_with_wider_noise_and_each_try_is_charged() -> None:
    o, service = near(9.0)
    with o.attacking("test", Access.SCORE):
        seen = told(o, tries=3)
        assert seen.score(o.x).tolist() == [-math.inf]
        assert not seen.answered.any()
    assert int(o.outcome.queries) == int(o.outcome.refused) == 4
    spread = [float((v - service.seen[0]).std()) for v in service.seen[1:]]
    assert spread == pytest.approx([0.02 * WIDER**k for k in range(4)], rel=0.15)


def test_the_answer_of_the_try_that_passed_counts() -> None:
    o, service = near(0.035)
    with o.attacking("test", Access.SCORE):
        seen = told(o, tries=3)
        value = seen.score(o.x)
        assert seen.answered.all()
    assert int(o.outcome.queries) == 3, "0.02 and 0.03 are too near, 0.045 is not"
    z = service.inner.scores(service.seen[-1][None])
    assert torch.allclose(value, z[:, 1] - z[:, 0])


def test_a_search_ends_at_its_first_refusal_until_another_kind_is_asked() -> None:
    o, service = near(9.0)
    with o.attacking("test", Access.SCORE):
        seen = told(o, tries=3)
        assert not seen.fooled(o.x, kind="projection").any()
        assert len(service.seen) == 1 + 1, "a search does not try again"
        assert not seen.fooled(o.x, kind="projection").any()
        assert len(service.seen) == 1 + 1
        assert not seen.answered.any()
        seen.fooled(o.x, kind=torch.tensor([2]))
        seen.fooled(o.x, kind=torch.tensor([3]))
        assert len(service.seen) == 1 + 1 + 4 + 1
    assert o.outcome.kinds["projection"].tolist() == [2]
    assert o.outcome.kinds["step"].tolist() == [4]


def test_questions_with_noise_stay_legal() -> None:
    o, service = remembered(Access.SCORE, Ball(0.03))
    find("oars-square").bind()(o)
    assert service.refused > 0
    assert (o.outcome.distance[o.outcome.broken] <= 0.03).all()
    assert torch.equal(o.outcome.best.flatten(1)[:, 0], o._x.flatten(1)[:, 0]), "what the mask forbids is not touched"


# ---- the service ----------------------------------------------------------------------------------------------------------------------


def test_the_service_hashes_windows_of_levels() -> None:
    service = Blacklight(Torch(Halfspace()), window=3, hashes=50)
    x = torch.tensor([0.0, 60, 120, 180, 240, 0, 60, 190]) / 255
    whole = service.fingerprint(x)
    assert len(whole) == 6
    same, other = x.clone(), x.clone()
    same[1], other[4] = 99 / 255, 199 / 255
    assert (service.fingerprint(same) == whole).all(), "the same levels of 50"
    assert len(set(service.fingerprint(other)) & set(whole)) == 3, "three of six windows have the feature"


def test_the_service_refuses_what_shares_more_than_half_of_its_windows() -> None:
    service = Blacklight(Torch(Halfspace()), window=1, hashes=4)
    first = torch.tensor([10.0, 60, 110, 160]) / 255
    half, most = first.clone(), first.clone()
    half[2:] = torch.tensor([210.0, 255]) / 255
    most[3] = 1.0
    assert [service.passes(row) for row in (first, first, half, most)] == [True, False, True, False]


# ---- what it wins ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "norm", "eps"), PAIRS)
def test_a_stateful_service_stops_the_plain_attack_and_not_its_oars_form(name: str, norm: str, eps: float) -> None:
    found = {}
    for which in (name, f"oars-{name}"):
        attack = ATTACKS[which].bind()
        o, service = remembered(attack.facts.access, Ball(eps, norm), n=6)
        attack(o)
        r = o.outcome
        found[which] = int(r.broken.sum()), float(r.refused.sum() / r.queries.sum())
        assert service.asked == int(r.queries.sum()) + 6, "every question is charged, answered or not"
        assert service.refused == int(r.refused.sum())
        assert (r.queries <= 300).all()
    (plain, deaf), (wins, heard) = found.values()
    assert deaf > 0.8, "most of what the plain attack asks is refused"
    assert heard < 0.5
    assert wins >= plain + 2
    assert wins >= 4


@pytest.mark.parametrize(("name", "norm", "eps"), PAIRS)
def test_a_row_does_not_feel_its_batch_at_a_service_that_remembers(name: str, norm: str, eps: float) -> None:
    attack = find(f"oars-{name}").bind()
    o, _ = remembered(attack.facts.access, Ball(eps, norm), n=4, queries=150)
    attack(o)
    for i in (2, 0):
        alone, _ = remembered(attack.facts.access, Ball(eps, norm), n=4, queries=150, only=i)
        attack(alone)
        a, r = alone.outcome, o.outcome
        for column in ("broken", "queries", "first", "refused"):
            assert getattr(a, column)[0] == getattr(r, column)[i], column


def test_its_settings_are_those_of_the_attack_and_four_more() -> None:
    plain, oars = find("nes").bind().settings, find("oars-nes").bind().settings
    assert set(oars) - set(plain) == {"tries", "rounds", "looks", "refusals"}
    assert {k: v for k, v in oars.items() if k in plain} == {**plain, "reach": 0.5}


def test_any_query_attack_can_be_wrapped() -> None:
    surfree = evasive(ATTACKS["surfree"]).bind(angles=2)
    o, service = remembered(Access.LABEL, Ball(0.5, "l2"), n=4, queries=100)
    surfree(o)
    assert o.outcome.broken.any()
    assert 0 < service.refused < service.asked / 2
