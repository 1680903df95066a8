"""The registry: names, settings, presets, suites, and what is said when one is wrong."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from spine import NEAR, siege
from worlds import SHAPE

import vauban.attacks
from vauban.attacks import ATTACKS, Attack, Recipe, attack, bim, fgsm, find, pgd, preset
from vauban.attacks.registry import KINDS
from vauban.attacks.suites import SUITES, suite
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.threat import INF, Access, Ball, Threat, Transformations

EVERY = pytest.mark.parametrize("name", sorted(ATTACKS))


@EVERY
def test_every_attack_is_declared_and_had_by_name(name: str) -> None:
    recipe = find(name)
    facts = recipe.facts
    assert facts.name == name
    assert facts.summary.endswith((".", ";")) or len(facts.summary) > 40
    assert any(ch.isdigit() for ch in facts.paper), "a source has a year"
    assert set(facts.on) <= set(KINDS)
    assert facts.on
    assert facts.proof or facts.atlas.startswith("AML.T0043")
    assert facts.proof or facts.nist.startswith("NISTAML")
    assert getattr(vauban.attacks, name.replace("-", "_")) is recipe
    assert name.replace("-", "_") in dir(vauban.attacks)


@EVERY
def test_settings_have_defaults_that_bind_themselves(name: str) -> None:
    bound = find(name).bind()
    assert isinstance(bound, Attack)
    assert bound.name == name
    assert dict(bound.settings) == dict(find(name).bind(**bound.settings).settings)
    assert bound == find(name).bind()
    with pytest.raises(TypeError):
        bound.settings["steps"] = 3  # type: ignore[index]


def test_a_preset_is_bound_settings_under_a_name() -> None:
    assert dict(bim.bind().settings) == dict(pgd.bind(steps=10, step=0.125, start="clean").settings)
    assert bim.facts.name == "bim"
    assert bim.facts.access is pgd.facts.access
    assert bim.bind(steps=3).settings["steps"] == 3
    assert bim.bind(steps=3).settings["start"] == "clean"
    runs = []
    for a in (bim.bind(), pgd.bind(steps=10, step=0.125, start="clean")):
        o = siege()
        a(o)
        runs.append(o.outcome)
    assert torch.equal(runs[0].best, runs[1].best)
    assert torch.equal(runs[0].queries, runs[1].queries)


def test_calling_with_an_oracle_attacks_and_without_binds() -> None:
    o = siege()
    assert pgd(o, 5, step=0.3) is None
    assert o.book.attempts[0].name == "pgd"
    bound = pgd(7)
    assert isinstance(bound, Attack)
    assert bound.settings["steps"] == 7
    assert pgd.bind(steps="12", step="1/8").settings["step"] == 0.125


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"stpes": 3}, "attack 'pgd' has no setting 'stpes'; did you mean 'step' or 'steps'?|did you mean 'steps' or 'step'?"),
        ({"steps": 0}, "attack 'pgd': steps = 0"),
        ({"steps": 2.5}, "attack 'pgd': steps = 2.5"),
        ({"steps": "many"}, "attack 'pgd': steps = 'many'"),
        ({"step": -1}, "attack 'pgd': step = -1"),
        ({"step": "1/0"}, "attack 'pgd': step = '1/0' must be a number or a fraction"),
        ({"step": math.inf}, "attack 'pgd': step = inf"),
        ({"step": math.nan}, "attack 'pgd': step = nan is NaN; it must be a number"),
        ({"loss": "mragin"}, "attack 'pgd': loss = 'mragin'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadPlan) as error:
        pgd.bind(**settings)
    assert any(part in str(error.value) for part in sentence.split("|"))


def test_too_many_settings_are_refused() -> None:
    with pytest.raises(BadPlan, match="takes at most 1 settings, and 2 were given"):
        fgsm.bind("margin", 2)
    with pytest.raises(BadPlan, match="the setting 'steps' is given twice, as 3 and as 4"):
        pgd.bind(3, steps=4)


def test_an_unknown_attack_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(BadPlan, match=r"no attack is named 'pdg'; did you mean .*'pgd'"):
        find("pdg")
    with pytest.raises(AttributeError):
        _ = vauban.attacks.nothing


def test_a_name_is_taken_once_and_needs_words() -> None:
    with pytest.raises(BadPlan, match="two attacks are named 'pgd'"):
        preset("pgd", "A summary.", pgd, paper="x 2020")
    with pytest.raises(BadPlan, match="needs a docstring and a source"):

        @attack(Access.NONE, on=("linf",), paper="x 2020")
        def speechless(o: Oracle) -> None: ...

    assert "speechless" not in ATTACKS


@pytest.mark.parametrize(
    ("name", "threat", "shape", "sentence"),
    [
        ("ddn", Threat("t", Ball(0.1)), (4,), "works on l2, and threat 't' allows linf"),
        ("pgd", Threat("t", Ball(INF, "l2")), (4,), "needs a radius, and threat 't' has eps = inf"),
        ("blur", Threat("t", Ball(0.1)), (4,), "needs images"),
        ("spatial", Threat("t", Ball(0.1)), SHAPE, "works on transformations"),
    ],
)
def test_an_attack_that_cannot_act_says_why(name: str, threat: Threat, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(BadPlan, match=sentence):
        find(name).bind().check(threat, shape=shape)


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("perturbation", [Ball(0.1), Ball(1, "l2"), Ball(5, "l1"), Ball(3, "l0"), Transformations()], ids=lambda p: p.kind)
@pytest.mark.parametrize("access", [Access.NONE, Access.LABEL, Access.SCORE, Access.GRADIENT])
def test_a_suite_holds_what_can_act_and_nothing_else(name: str, perturbation: Ball | Transformations, access: Access) -> None:
    t = Threat("t", perturbation, access)
    try:
        chosen = suite(name, t, (1, 8, 8))
    except BadPlan as error:
        assert "can act" in str(error)
        return
    assert chosen
    for a in chosen:
        assert a.facts.access <= access
        a.check(t, shape=(1, 8, 8))
    lifted = suite(name, t, (1, 8, 8), Access.GRADIENT)
    assert {a.name for a in chosen} <= {a.name for a in lifted}


def test_an_unknown_suite_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(BadPlan, match=r"no suite is named 'standart'; did you mean 'standard'"):
        suite("standart", Threat("t", NEAR), (4,))


def test_a_suite_run_in_order_is_a_cascade() -> None:
    """Effort goes to the survivors: no row is broken twice, and none is asked again by a fixed-radius attack once it fell."""
    o = siege()
    for a in suite("standard", o.threat, SHAPE):
        a(o)
    tries = o.book.attempts
    for earlier, later in itertools.pairwise(tries):
        assert (later.before >= earlier.before).all()
        assert not torch.isin(later.rows, later.before.nonzero()[:, 0]).any()
    assert o.outcome.broken.all()


def test_a_share_is_part_of_the_attack_and_not_of_its_settings() -> None:
    a = pgd.bind(steps=4).spending(3)
    assert a.queries == 3
    assert dict(a.settings) == dict(pgd.bind(steps=4).settings)
    assert isinstance(pgd, Recipe)
    assert "pgd" in repr(pgd)
