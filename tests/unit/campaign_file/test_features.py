"""Constraints on the columns of a table in a campaign file: by lists of names, by patterns, by a CSV file, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vauban.campaign.file.plan import plan_of
from vauban.campaign.file.read import read_file
from vauban.errors import BadData, BadPlan, VaubanError
from vauban.threat import Features

HEAD = """
[target]
load = "m.py:build"
[data]
load = "loans.csv"
label = "bad"
bounds = [[0, 0, 0, 18, 0, 0], [1000, 1000, 1000, 100, 1, 1]]
[[threat]]
name = "applicant"
norm = "l2"
eps = 0.2
"""
LISTS = """
[threat.features]
integer = ["age"]
fixed = ["age"]
up = ["paid"]
groups = { use = "use_*" }
scales = { "use_*" = 10 }
bounds = { amount = [100, 900] }
relations = ["rest == amount - paid", "`paid` <= amount"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    amount, share = rng.uniform(200, 800, 30), rng.random(30)
    use = rng.integers(0, 2, 30)
    rows = np.column_stack([amount, amount * share, amount - amount * share, rng.integers(18, 90, 30), use, 1 - use, amount > 500])
    text = "amount,paid,rest,age,use_car,use_home,bad\n" + "\n".join(",".join(f"{v:.17g}" for v in r) for r in rows)
    (tmp_path / "loans.csv").write_text(text)
    (tmp_path / "m.py").write_text(
        "import torch\ndef build():\n    m = torch.nn.Linear(6, 2)\n    with torch.no_grad():\n        m.weight.zero_(); m.weight[1, 0] = 0.01\n"
        "        m.bias.copy_(torch.tensor([5.0, 0.0]))\n    return m\n"
    )
    return tmp_path


def allowed(folder: Path, text: str) -> Features:
    (folder / "vauban.toml").write_text(HEAD + text)
    found = plan_of(read_file(folder / "vauban.toml")).sieges[0].threat.perturbation
    assert isinstance(found, Features)
    return found


def test_names_come_from_the_columns_of_the_data(folder: Path) -> None:
    f = allowed(folder, LISTS)
    by = {c.name: c for c in f.columns}
    assert f.names == ("amount", "paid", "rest", "age", "use_car", "use_home")
    assert (by["age"].kind, by["age"].change, by["age"].size) == ("integer", "none", 82)
    assert (by["paid"].change, by["amount"].lo, by["amount"].hi, by["amount"].size) == ("up", 100, 900, 800)
    assert f.groups == {"use": (4, 5)}
    assert by["use_car"].size == 10
    assert [r.text for r in f.relations] == ["rest == amount - paid", "`paid` <= amount"]
    assert (f.eps, f.norm) == (0.2, 2)


def test_a_csv_file_says_the_same(folder: Path) -> None:
    (folder / "features.csv").write_text(
        "name,kind,lo,hi,change,group,scale\nage,integer,,,none,,\npaid,,,,up,,\namount,,100,900,,,\nuse_car,,,,,use,10\nuse_home,category,,,,use,10\n"
    )
    relations = 'relations = ["rest == amount - paid", "`paid` <= amount"]'
    assert allowed(folder, f'[threat.features]\nfile = "features.csv"\n{relations}') == allowed(folder, LISTS)


def test_scales_by_deviation_or_number(folder: Path) -> None:
    std = allowed(folder, '[threat.features]\nscale = "std"\nscales = { age = 7 }')
    x = np.loadtxt(folder / "loans.csv", delimiter=",", skiprows=1)
    assert std.columns[0].size == pytest.approx(x[:, 0].std(), rel=1e-5)
    assert std.columns[3].size == 7
    assert {c.size for c in allowed(folder, "[threat.features]\nscale = 50").columns} == {50}


def test_the_audit_runs_and_the_plan_records_the_constraints(folder: Path) -> None:
    from vauban.campaign.run import audit_plan

    allowed(folder, LISTS)
    plan = plan_of(read_file(folder / "vauban.toml"))
    told = plan.resolved["threats"][0]["perturbation"]  # type: ignore[index]
    assert told["kind"] == "features"
    assert told["relations"] == ["rest == amount - paid", "`paid` <= amount"]
    record = audit_plan(plan, folder=None)
    finding = record["applicant"]
    assert [a.name for a in finding.attacks] == ["capgd", "moeva"]
    assert finding.threat.perturbation == "features"


@pytest.mark.parametrize(
    ("text", "why", "error"),
    [
        ('[threat.features]\ninteger = ["agee"]', "did you mean 'age'", BadPlan),
        ('[threat.features]\nwhole = ["age"]', "no key 'whole' is known here", BadPlan),
        ('[threat.features]\nrelations = ["rest == amount - payed"]', "did you mean 'paid'", BadPlan),
        ('[threat.features]\nrelations = ["rest >= amount"]', "breaks the relation 'rest >= amount' before any attack", BadData),
        ('[threat.features]\ninteger = ["amount"]', "is not a whole number", BadData),
        ('[threat.features]\nfixed = ["age"]\nup = ["age"]', "say one of them", BadPlan),
        ("[threat.features]\nbounds = { age = [90, 100] }", "is outside its bounds", BadData),
        ('[threat.features]\ngroups = { g = ["use_car"] }', "a single column", BadPlan),
        ("mask = [true, true, true, true, true, true]\n[threat.features]\n", "exclude each other", BadPlan),
        ('[threat.features]\nfile = "none.csv"', "cannot be read", BadPlan),
        ('[threat.features]\nfile = "bad.csv"', "bad.csv:2: change = 'upp' is unknown; did you mean 'up'", BadPlan),
        ('suite = "quick"\n[[threat.attack]]\nname = "leaf-tuple"\n[threat.features]\n', "reads trees", BadPlan),
        ('suite = "autoattack"\n[threat.features]\n', "no attack of the suite", BadPlan),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(folder: Path, text: str, why: str, error: type[VaubanError]) -> None:
    (folder / "bad.csv").write_text("name,change\nage,upp\n")
    with pytest.raises(error, match=why) as told:
        allowed(folder, text)
    assert str(told.value).startswith(str(folder / "vauban.toml"))
