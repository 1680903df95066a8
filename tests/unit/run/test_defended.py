"""What an audit of a defended target contains: the naive number beside the adaptive one, what the defences owe, and the doubt about bad stand-ins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import ATTACKS, find
from vauban.campaign.owed import NAIVE, completed
from vauban.campaign.record import Record
from vauban.campaign.run.identity import identity
from vauban.data import Rows
from vauban.defences import DEFENCES, Defence, bit_depth, defence, max_softmax
from vauban.defences.registry import Facts
from vauban.errors import BadPlan, BadTarget
from vauban.target import Preprocessed, Target, Torch, restrict
from vauban.target.around import Owed, bare, undefended, worn_by
from vauban.target.restricted import Restricted
from vauban.threat import Access, Ball, Threat

torch.set_num_threads(1)
EPS = 0.15


def data(n: int = 80) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.rand(n, 6, generator=g)
    return x, (x.sum(1) > 3).long()


def model() -> Torch:
    linear = nn.Linear(6, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.stack([-torch.ones(6), torch.ones(6)]))
        linear.bias.copy_(torch.tensor([3.0, -3.0]))
    return Torch(linear)


def insider(**more: object) -> Threat:
    return Threat("insider", Ball(EPS), **more)  # type: ignore[arg-type]


def made(build, *, owes: tuple[Owed, ...] = ()) -> Defence:  # type: ignore[no-untyped-def]
    facts = Facts("a-defence", "A defence.", "input", "anything", "gradients", "nowhere", owes)
    return Defence(facts, {}, build)


def upside_down(x: Tensor) -> Tensor:
    """A step whose stand-in, the identity, points the wrong way."""
    return 1 - x


def behind_a_bad_stand_in(target: Target) -> Target:
    """The same answers as without it, and gradients that lead away from wrong ones."""
    turned = Preprocessed(upside_down, target, differentiable=True)
    return Preprocessed(upside_down, turned, backward=lambda x: x)


def test_the_naive_number_is_what_the_oblivious_attack_left_and_never_below_the_robust_one() -> None:
    record = vauban.audit(bit_depth(bits=3).around(model()), *data(), insider(), suite="quick")
    f = record["insider"]
    assert f.attacks[0].name == NAIVE
    assert f.naive is not None and f.naive.hits == f.attacks[0].left and f.naive.rows == f.robust.rows
    assert f.naive.hits >= f.robust.hits
    assert [d.name for d in record.target.defences] == ["bit-depth"] and record.target.defences[0].settings == {"bits": 3}
    assert vauban.audit(model(), *data(), insider(), suite="quick")["insider"].naive is None


def test_a_record_with_defences_reads_back_as_it_was(tmp_path) -> None:  # type: ignore[no-untyped-def]
    record = vauban.audit(bit_depth().around(model()), *data(20), insider(), attacks=["fgsm"])
    record.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json") == record


def test_what_a_defence_owes_is_run_once_whatever_attacks_were_named() -> None:
    owed = Owed("pgd", {"steps": 5, "loss": "margin"})
    target = made(lambda t: Preprocessed(torch.round, t), owes=(owed, owed)).around(model())
    names = [a.label for a in vauban.audit(target, *data(20), insider(), attacks=["fgsm"])["insider"].attacks]
    assert names == [NAIVE, "fgsm", "pgd"]
    again = completed((find("pgd").bind(steps=5, loss="margin"),), insider(), target, (6,))
    assert [a.name for a in again] == [NAIVE, "pgd"], "what was named already is not run twice"


@pytest.mark.parametrize("access", [Access.SCORE, Access.LABEL])
def test_an_attacker_without_the_model_is_owed_nothing_that_needs_it(access: Access) -> None:
    target = made(lambda t: Preprocessed(torch.round, t), owes=(Owed("pgd"),)).around(model())
    chosen = (find("square" if access is Access.SCORE else "hop-skip-jump").bind(),)
    assert completed(chosen, insider(access=access), target, (6,)) == chosen


def test_a_stand_in_that_is_worse_than_none_is_doubted() -> None:
    target = made(behind_a_bad_stand_in).around(model())
    record = vauban.audit(target, *data(), insider(), suite="quick")
    doubts = [d for d in record["insider"].doubts if d.name == "adaptive-weaker-than-oblivious"]
    assert len(doubts) == 1 and "a-defence" in doubts[0].text
    sound = vauban.audit(bit_depth(bits=5).around(model()), *data(), insider(), suite="quick")
    assert not [d for d in sound["insider"].doubts if d.name == "adaptive-weaker-than-oblivious"]


def test_wrappers_pass_on_what_is_worn_and_know_the_model_inside() -> None:
    base = model()
    twice = bit_depth(bits=4).around(bit_depth(bits=2).around(base))
    assert [w.settings["bits"] for w in worn_by(twice)] == [2, 4]
    assert undefended(twice) is base and undefended(base) is base and bare(base) is None
    lowered = restrict(twice, "label")
    assert isinstance(lowered, Restricted) and worn_by(lowered) == worn_by(twice) and undefended(lowered) is base


def test_the_model_behind_a_detector_is_seen_with_a_column_it_never_answers() -> None:
    x, y = data(200)
    base = model()
    target = max_softmax(rejected=0.1).around(base, (x, y))
    surrogate = bare(target)
    assert surrogate is not None and target.reject == 2
    z = surrogate.smooth(x)
    assert z.shape == (200, 3) and torch.equal(z[:, :2], base.smooth(x)) and bool((z[:, 2] < z[:, :2].amin(1)).all())


def test_settings_of_a_defence_are_part_of_what_a_run_is() -> None:
    from vauban.campaign.plan import Plan, Siege

    def known(bits: int) -> object:
        plan = Plan("t", bit_depth(bits=bits).around(model()), rows(), (Siege(insider(), (find("fgsm").bind(),)),))
        return identity(plan, keep_inputs=False)

    assert known(3) == known(3) and known(3) != known(4)


def rows() -> Rows:
    from vauban.data import load_data

    x, y = data(20)
    return load_data({"x": x, "y": y}, lo=0.0, hi=1.0, layout="vector")


def test_a_defence_says_what_it_lacks() -> None:
    with pytest.raises(BadPlan, match="fitted on clean rows"):
        max_softmax().around(model())
    with pytest.raises(BadPlan, match="no setting 'bit'"):
        bit_depth(bit=3)
    with pytest.raises(BadPlan, match="bits = 0"):
        bit_depth(bits=0)
    with pytest.raises(BadTarget, match="returned the target itself"):
        made(lambda t: t).around(model())


def test_a_registered_defence_needs_its_facts() -> None:
    def nameless(target: Target) -> Target:
        return target

    with pytest.raises(BadPlan, match="needs a docstring"):
        defence("input", claims="x", adaptive="y", paper="z")(nameless)
    with pytest.raises(BadPlan, match="no family is named"):
        defence("inputs", claims="x", adaptive="y", paper="z")(nameless)


@pytest.mark.parametrize("name", sorted(DEFENCES))
def test_every_defence_names_attacks_that_exist(name: str) -> None:
    for owed in DEFENCES[name].facts.owes:
        ATTACKS[owed.attack].bind(**owed.settings)
