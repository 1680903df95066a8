"""`[[defence]]` tables of a file: what they put around the target, and what they are told they lack."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vauban.campaign.file import plan_of, read_file
from vauban.campaign.file.defended import bound_defence
from vauban.campaign.plan import Plan
from vauban.errors import VaubanError
from vauban.target.around import worn_by
from vauban.target.restricted import Restricted
from vauban.threat import Access

TWO = """
[[defence]]
name = "bit-depth"
bits = 3

[[defence]]
name = "max-softmax"
rejected = 0.1
data = { load = "held.npz" }

[[surrogate]]
"""
OWN = """
from vauban.defences import defence
from vauban.target import Preprocessed


@defence("input", claims="nothing", adaptive="gradients through it", paper="none")
def half(target, *, share: float = 0.5):
    "Halves the input."
    return Preprocessed(lambda x: x * share, target, differentiable=True)
"""


def load(campaign: Path, tables: str) -> Plan:
    """The plan of the good file with defences, and the clean rows they are fitted on."""
    x = np.random.default_rng(9).random((200, 6), dtype=np.float32)
    np.savez(campaign.parent / "held.npz", x=x, y=(x.sum(1) < 3).astype(np.int64))
    campaign.write_text(campaign.read_text().replace("[[surrogate]]\n", tables, 1))
    return plan_of(read_file(campaign), campaign)


def test_each_defence_stands_around_what_the_ones_before_it_gave(campaign: Path) -> None:
    plan = load(campaign, TWO)
    assert [w.name for w in worn_by(plan.target)] == ["bit-depth", "max-softmax"]
    assert plan.target.reject == 2
    insider = [a.name for a in plan.sieges[0].attacks]
    assert insider[:2] == ["oblivious", "pgd"] and len(insider) > 2, "what was named, between the attacks that a defence owes"
    told = plan.resolved["defences"]
    assert isinstance(told, list) and [d["settings"] for d in told] == [{"bits": 3}, {"rejected": 0.1}]
    x = plan.data.x[:5]
    assert torch.equal(plan.target.scores(x), plan.target.scores((x * 7).round() / 7)), "the input meets the rounding"


def test_lowered_access_stays_outside_of_all(campaign: Path) -> None:
    campaign.write_text(campaign.read_text().replace('[target]\nload = "m.py:build"', '[target]\nload = "m.py:build"\naccess = "label"', 1))
    campaign.write_text(campaign.read_text().replace('[[threat.attack]]\nname = "pgd"\nsteps = 5\n', "", 1))
    campaign.write_text(campaign.read_text().replace('suite = "quick"', "", 1))
    plan = load(campaign, TWO)
    assert isinstance(plan.target, Restricted) and plan.target.access == Access.LABEL
    assert [w.name for w in worn_by(plan.target)] == ["bit-depth", "max-softmax"]
    assert "oblivious" not in [a.name for a in plan.sieges[0].attacks], "who sees labels holds no model to ignore the defence with"


def test_a_defence_of_ones_own_is_named_by_its_file(campaign: Path) -> None:
    (campaign.parent / "mine.py").write_text(OWN)
    plan = load(campaign, '[[defence]]\nname = "mine.py:half"\nshare = 0.25\n\n[[surrogate]]\n')
    assert worn_by(plan.target)[0].settings == {"share": 0.25}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (TWO.replace("bit-depth", "bitdepth"), "no defence is named 'bitdepth'; did you mean 'bit-depth'"),
        (TWO.replace("bits = 3", "bit = 3"), "has no setting 'bit'; did you mean 'bits'"),
        (TWO.replace("bits = 3", "bits = 40"), "bits = 40 should be less than or equal to 16"),
        (TWO.replace('data = { load = "held.npz" }', ""), "'max-softmax' is fitted on clean rows"),
        (TWO.replace("held.npz", "d.npz"), "are among the rows to fit the defence on"),
        (TWO.replace("rejected = 0.1", "rejected = 0.001"), "too few to reject 0.1% of them by; give 5000 or more"),
        (TWO.replace("held.npz", "gone.npz"), "gone.npz"),
        (TWO.replace("[[defence]]", "[defence]", 1).partition("\n\n[[defence]]")[0] + "\n[[surrogate]]\n", "[[defence]]"),
    ],
)
def test_what_cannot_be_put_around_it_is_told_with_its_line(campaign: Path, tables: str, said: str) -> None:
    with pytest.raises(VaubanError) as caught:
        load(campaign, tables)
    assert said in str(caught.value) and "vauban.toml:" in str(caught.value)


def test_a_name_that_is_no_defence_is_told(campaign: Path) -> None:
    from vauban.campaign.file.target import DefenceTable

    (campaign.parent / "mine.py").write_text("half = 3\n")
    with pytest.raises(VaubanError, match="is int, not a defence"):
        bound_defence(DefenceTable(name="mine.py:half"), campaign.parent)
