"""`vauban matrix` on a small campaign: what it measures, that it measures nothing twice, and what it says of lines that cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vauban.campaign.file import read_file
from vauban.campaign.matrix.contenders import contenders_of
from vauban.campaign.matrix.result import Matrix
from vauban.campaign.matrix.run import Listeners, matrix_of
from vauban.cli.main import application
from vauban.errors import BadPlan

FILE = """title = "stripes"
[target]
load = "m.py:build"
[data]
load = "audit.npz"
[harden]
epochs = 2
batch = 50
data = { load = "train.npz" }
[matrix]
defences = ["bit-depth", "adversarial", "max-softmax", "jpeg"]
attacks = ["fgsm", { name = "pgd", steps = 5 }, "square", "ddn"]
suite = "quick"
queries = 30
data = { load = "held.npz" }
[[matrix.defence]]
label = "both"
defence = [{ name = "bit-depth", bits = 3 }, { name = "bit-depth", bits = 5 }]
[[threat]]
name = "insider"
eps = 0.1
"""
CODE = """
import torch
ASKED = []


class Counted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(6, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.stack([-torch.ones(6), torch.ones(6)]) * 4)
            self.layer.bias.copy_(torch.tensor([12.0, -12.0]))

    def forward(self, x):
        return self.layer(x)


def build():
    return Counted()
"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    random = np.random.default_rng(0)
    for name, count in (("train", 200), ("held", 200), ("audit", 60)):
        x = random.random((count, 6), dtype=np.float32)
        np.savez(folder / f"{name}.npz", x=x, y=(x.sum(1) > 3).astype(np.int64))
    (folder / "m.py").write_text(CODE)
    (folder / "vauban.toml").write_text(FILE)
    return folder / "vauban.toml"


@pytest.fixture(scope="module")
def measured(campaign: Path) -> tuple[Matrix, list[str]]:
    told: list[str] = []
    return matrix_of(read_file(campaign), campaign, listeners=Listeners(tell=told.append)), told


def test_every_line_is_measured_or_says_why_not(measured: tuple[Matrix, list[str]]) -> None:
    whole, _ = measured
    lines = {line.label: line for line in whole.lines}
    assert list(lines) == ["undefended", "bit-depth", "adversarial", "max-softmax", "jpeg", "both"]
    assert "image" in lines["jpeg"].failed and all(not line.failed for label, line in lines.items() if label != "jpeg")
    assert lines["both"].wears == ("bit-depth", "bit-depth") and lines["adversarial"].wears == ("adversarial",)
    assert lines["adversarial"].training is not None and lines["adversarial"].training > 1 and lines["both"].training is None
    assert lines["max-softmax"].memory >= lines["undefended"].memory == (6 * 2 + 2) * 4


def test_single_attacks_are_naive_and_adaptive_where_that_means_something(measured: tuple[Matrix, list[str]]) -> None:
    whole, _ = measured
    for line in whole.measured:
        (stand,) = line.stands
        hits = {h.attack: h for h in stand.hits}
        assert set(hits) == {"fgsm", "pgd", "square"}, "ddn knows no L-infinity"
        assert hits["square"].naive is None, "a search by scores holds no model"
        assert (hits["pgd"].naive is None) == (line.label == "undefended")
        assert all(h.adaptive.hits <= stand.robust.rows - stand.robust.hits + 3 for h in hits.values()), (
            "the suite is not far weaker than its parts"
        )
    bare = whole.lines[0].stands[0]
    assert {h.attack: h.adaptive.hits for h in bare.hits}["fgsm"] == bare.robust.rows - bare.robust.hits, (
        "on a linear model one step is the truth"
    )


def test_the_same_command_measures_nothing_twice(
    campaign: Path, measured: tuple[Matrix, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vauban.attacks.registry import Attack

    def refuse(self: Attack, o: object) -> None:
        raise AssertionError(f"{self.name} ran again")

    monkeypatch.setattr(Attack, "__call__", refuse)
    again = matrix_of(read_file(campaign), campaign)
    assert again.lines == measured[0].lines


def test_another_attack_is_measured_and_the_others_are_kept(
    campaign: Path, measured: tuple[Matrix, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vauban.attacks.registry import Attack

    ran: list[str] = []
    real = Attack.__call__

    def noted(self: Attack, o: object) -> None:
        ran.append(self.name)
        real(self, o)  # type: ignore[arg-type]

    monkeypatch.setattr(Attack, "__call__", noted)
    other = campaign.parent / "more.toml"
    other.write_text(FILE.replace('"square", "ddn"', '"square", "ddn", "uniform-noise"'))
    more = matrix_of(read_file(other), other)
    assert set(ran) == {"uniform-noise"}
    assert [h.attack for h in more.lines[0].stands[0].hits] == ["fgsm", "pgd", "square", "uniform-noise"]


def test_the_verb_prints_writes_and_answers_in_json(campaign: Path, measured: tuple[Matrix, list[str]]) -> None:
    app = application(("matrix",))
    shown = CliRunner().invoke(app, ["--plain", "matrix", str(campaign)])
    assert shown.exit_code == 0 and "bit-depth" in shown.stdout and "no measure of it" in shown.stdout
    folder = campaign.parent / "matrix"
    assert Matrix.read(folder).lines == measured[0].lines and Matrix.read(folder).complete
    assert (folder / "matrix.csv").read_text().count("\n") == 1 + 5 * 4 and "insider" in (folder / "matrix.html").read_text()
    reports = [s.report for line in measured[0].measured for s in line.stands]
    assert all((folder / r).is_file() for r in reports)
    machine = CliRunner().invoke(app, ["--json", "matrix", str(campaign)])
    assert json.loads(machine.stdout)["lines"][0]["label"] == "undefended"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"bit-depth", "adv', '"bitdepth", "adv', "'bitdepth' is no defence and no way of training; did you mean 'bit-depth'"),
        ('label = "both"', 'label = "max-softmax"', "two lines are called 'max-softmax'"),
        ('"fgsm", {', '"fgms", {', "no attack is named 'fgms'; did you mean 'fgsm'"),
        ("bits = 3", "bit = 3", "has no setting 'bit'"),
        ('queries = 30\ndata = { load = "held.npz" }', "queries = 30", "'max-softmax' is fitted on clean rows"),
    ],
)
def test_mistakes_in_the_file_are_told(campaign: Path, old: str, new: str, said: str) -> None:
    file = campaign.parent / "mistake.toml"
    assert old in FILE
    file.write_text(FILE.replace(old, new).replace('folder = "matrix"', ""))
    with pytest.raises(BadPlan) as caught:
        matrix_of(read_file(file), file)
    assert said in str(caught.value) and "mistake.toml" in str(caught.value)


def test_a_file_without_a_matrix_says_so(campaign: Path) -> None:
    file = campaign.parent / "none.toml"
    file.write_text(FILE.partition("[matrix]")[0] + '[[threat]]\nname = "insider"\neps = 0.1\n')
    with pytest.raises(BadPlan, match=r"no \[matrix\]"):
        contenders_of(read_file(file))


TEAM = """
import torch
from vauban.defences.ensembles.together import Together


def member(tilt):
    layer = torch.nn.Linear(6, 2)
    w = torch.ones(6) + tilt * torch.tensor([1.0, -1, 1, -1, 1, -1])
    with torch.no_grad():
        layer.weight.copy_(torch.stack([-w, w]) * 4)
        layer.bias.copy_(torch.tensor([12.0, -12.0]))
    return layer


def build():
    return member(0.0)


def team():
    return Together([member(0.1), member(-0.1)])
"""


def test_a_matrix_that_goes_on_finds_what_it_measured_of_a_target_that_rejects(tmp_path: Path) -> None:
    """Audits that are read instead of run ask the target nothing, and before it was asked once it does not say that it can reject."""
    x = np.random.default_rng(0).random((30, 6), dtype=np.float32)
    np.savez(tmp_path / "audit.npz", x=x, y=(x.sum(1) > 3).astype(np.int64))
    (tmp_path / "team.py").write_text(TEAM)
    file = tmp_path / "vauban.toml"
    file.write_text(
        '[target]\nload = "team.py:build"\noutputs = "log-probabilities"\n[data]\nload = "audit.npz"\n[[threat]]\nname = "insider"\neps = 0.1\n'
        '[matrix]\nsuite = "quick"\nattacks = ["fgsm"]\n'
        '[[matrix.defence]]\nlabel = "unanimous"\nload = "team.py:team"\ndefence = [{ name = "unanimous" }]\n'
    )
    first = matrix_of(read_file(file), file)
    parts = sorted(tmp_path.rglob("parts/*.json"))
    naive = [part for part in parts if '"access": "none"' in part.read_text()]
    assert len(naive) == 1, "stopped between an attack that knows of the defence and the one that does not"
    naive[0].unlink()
    assert matrix_of(read_file(file), file).lines == first.lines
    assert first.lines[1].stands[0].hits[0].naive is not None
    assert sorted(tmp_path.rglob("parts/*.json")) == parts, "what was measured before is found again"


def test_a_target_is_known_by_what_an_audit_shows_it_first(tmp_path: Path) -> None:
    """One that shows labels alone has as many classes as the first pass names, not the first rows."""
    x = np.random.default_rng(0).random((30, 4), dtype=np.float32)
    x = x[np.argsort(x[:, 0], kind="stable")]
    np.savez(tmp_path / "audit.npz", x=x, y=(3 * x[:, 0]).astype(np.int64))
    (tmp_path / "m.py").write_text("def thirds(x):\n    return (3 * x[:, 0].clip(0, 0.999)).astype(int)\n")
    file = tmp_path / "vauban.toml"
    file.write_text(
        '[target]\nload = "m.py:thirds"\naccess = "label"\n[data]\nload = "audit.npz"\n'
        '[[threat]]\nname = "asker"\neps = 0.1\naccess = "label"\nqueries = 30\n'
        '[matrix]\nsuite = "vauban"\nattacks = ["boundary"]\ndefences = ["bit-depth"]\n'
    )
    lines = matrix_of(read_file(file), file).lines
    assert [line.failed for line in lines] == ["", ""] and lines[0].clean.hits == 30
