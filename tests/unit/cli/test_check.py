"""`check` loads everything, tries every attack on 8 rows, and estimates the time; what is wrong is told before anything runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from vauban.campaign.file import plan_of, read_file
from vauban.cli.check import estimate
from vauban.cli.main import application
from vauban.cli.trial import Trial, look_at, try_attacks

FILE = """
[target]
load = "m.py:build"
[data]
load = "d.npz"
bounds = [0, 1]
classes = ["spoof", "live"]
[[threat]]
name = "insider"
eps = 0.2
attack = [{ name = "fgsm" }, { name = "pgd", steps = 3 }]
[[threat]]
name = "fraudster"
norm = "l2"
eps = 0.5
goal = { wanted = "live", from = ["spoof"] }
attack = [{ name = "ddn", steps = 4 }]
"""
MODEL = """
import torch

def build():
    model = torch.nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0] * 6, [-1.0] * 6]))
        model.bias.copy_(torch.tensor([-3.0, 3.0]))
    return model

def backwards():
    model = build()
    with torch.no_grad():
        model.weight.neg_()
        model.bias.neg_()
    return model
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).random((200, 6), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=(x.sum(1) < 3).astype(np.int64))
    (tmp_path / "m.py").write_text(MODEL)
    (tmp_path / "vauban.toml").write_text(FILE)
    return tmp_path / "vauban.toml"


def check(*words: str | Path) -> Result:
    return CliRunner().invoke(application(("check", "show")), [*map(str, words)])


def test_check_tries_every_attack_on_eight_rows(campaign: Path) -> None:
    done = check("--json", "check", campaign)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [(t["threat"], t["attack"], t["tried"], t["forwards"], t["backwards"]) for t in told["attacks"]] == [
        ("insider", "fgsm", 8, 2, 1),
        ("insider", "pgd", 8, pytest.approx(4, abs=3), pytest.approx(3, abs=3)),
        ("fraudster", "ddn", 8, pytest.approx(5, abs=1), pytest.approx(4, abs=1)),
    ]
    assert told["seconds"] > 0
    assert told["target"]["outputs"] == "logits"
    assert told["notes"] == []


def test_check_prints_a_table_and_the_estimate(campaign: Path) -> None:
    done = check("--plain", "check", campaign)
    assert "everything runs; the campaign takes at most about" in done.stdout
    assert "threat  fraudster: gradient access, L2 within 0.5, class 0 to class 1" in done.stdout


def test_the_rows_tried_are_those_the_goal_concerns(campaign: Path) -> None:
    plan = plan_of(read_file(campaign))
    look = look_at(plan, plan.sieges[1])
    assert len(look.rows) == 8
    assert set(plan.data.y[look.rows].tolist()) == {0}
    assert look.share == pytest.approx(float((plan.data.y == 0).float().mean()))
    assert all(t.tried == 8 for t in try_attacks(plan, plan.sieges[1], look))


def test_a_model_no_better_than_guessing_is_noted(campaign: Path) -> None:
    campaign.write_text(FILE.replace("m.py:build", "m.py:backwards").partition('[[threat]]\nname = "fraud')[0])
    done = check("check", campaign)
    assert done.exit_code == 0
    assert "only 0 of 64 clean rows are classified as labelled, about what guessing gives; check mean and std" in done.stdout


def test_a_goal_without_rows_is_told_with_its_line(campaign: Path) -> None:
    campaign.write_text(FILE.replace("m.py:build", "m.py:backwards"))
    done = check("check", campaign)
    assert done.exit_code == 2
    assert 'vauban.toml:12: [[threat]] "fraudster"' in done.stderr or 'vauban.toml:16: [[threat]] "fraudster"' in done.stderr
    assert "nothing can be attacked" in done.stderr


def test_a_time_limit_bounds_the_estimate(campaign: Path) -> None:
    campaign.write_text(FILE.replace("eps = 0.2", "eps = 0.2\nseconds = 5"))
    trials = [Trial("insider", "pgd", 8, 0, 1, 1, 1000.0), Trial("fraudster", "ddn", 8, 0, 1, 1, 7.0)]
    assert estimate(plan_of(read_file(campaign)), trials) == 12


def test_a_file_that_is_not_there_is_2(tmp_path: Path) -> None:
    done = check("check", tmp_path / "none.toml")
    assert (done.exit_code, done.stderr) == (2, f"vauban: {tmp_path}/none.toml: no such file; `vauban init` writes one\n")


@pytest.mark.parametrize("command", ["check", "audit"])
@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ("queries = 0", "queries = 0 lets no input be answered, so that no attack can win; give at least 1"),
        ("gradients = 0", "gradients = 0, and attack 'fgsm' takes gradients of the target; give at least 1"),
    ],
)
def test_a_budget_for_nothing_is_told_with_its_line(campaign: Path, command: str, budget: str, sentence: str) -> None:
    campaign.write_text(FILE.replace("eps = 0.2", f"eps = 0.2\n{budget}"))
    done = CliRunner().invoke(application((command,)), [command, str(campaign)])
    assert done.exit_code == 2
    assert 'vauban.toml:11: [[threat]] "insider"' in done.stderr
    assert sentence in done.stderr


def test_a_budget_too_small_for_one_step_is_noted(campaign: Path) -> None:
    campaign.write_text(FILE.replace("eps = 0.2", "eps = 0.2\nqueries = 1"))
    done = check("check", campaign)
    assert done.exit_code == 0
    assert "! threat 'insider': 1 query a row is too few for one step of fgsm, pgd, which take at least 2" in done.stdout


@pytest.mark.parametrize("command", ["check", "audit"])
@pytest.mark.parametrize(
    ("radii", "sentence"),
    [
        ("[0.1, 0.2, 0.2]", "the radius 0.2 stands twice in radii; name each once"),
        ("[0.2, 0.1]", "radii must be positive and ascending, and 0.1 follows 0.2"),
        ('["2/255", "1/255"]', "radii must be positive and ascending, and 0.00392157 follows 0.00784314"),
        ("[-0.1]", "-0.1"),
        ("[inf]", "inf"),
        ("[nan]", "nan"),
    ],
)
def test_radii_that_make_no_grid_are_told_with_their_line(campaign: Path, command: str, radii: str, sentence: str) -> None:
    campaign.write_text(
        FILE.replace("eps = 0.2", f"eps = 0.2\nradii = {radii}").replace('{ name = "fgsm" }', '{ name = "fmn", steps = 3 }')
    )
    done = CliRunner().invoke(application((command,)), [command, str(campaign)])
    assert done.exit_code == 2
    assert 'vauban.toml:11: [[threat]] "insider"' in done.stderr
    assert sentence in done.stderr
