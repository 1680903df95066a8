"""`vauban audit` and `vauban judge`: the exit code is the verdict, and what is printed says where the page lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from vauban.campaign.record import Record
from vauban.cli.main import application, hoisted

MODEL = """
import torch
from torch import nn


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        first = (x[:, 0] - 0.5) * self.w
        return torch.stack([-first, first], 1)


def rows():
    first = torch.linspace(0, 1, 81)  # the boundary, at row 40, is the defender's where its class is 0
    x = torch.stack([first, torch.full_like(first, 0.5)], 1)
    return x, (first > 0.5).long()
"""
CAMPAIGN = """
[target]
load = "half.py:Half"
[data]
load = "half.py:rows"
[[threat]]
name = "insider"
eps = 0.1
[[threat.attack]]
name = "fgsm"
[promise]
insider = {{ robust_accuracy = {promise} }}
"""


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.py").write_text(MODEL)
    (tmp_path / "vauban.toml").write_text(CAMPAIGN.format(promise=0.5))
    return tmp_path / "vauban.toml"


def vauban(*words: str) -> Result:
    return CliRunner().invoke(application(), hoisted(list(words)))


@pytest.mark.parametrize(("promise", "code"), [(0.5, 0), (0.99, 1), (0.8, 3)])
def test_the_exit_code_is_the_verdict(campaign: Path, promise: float, code: int) -> None:
    campaign.write_text(CAMPAIGN.format(promise=promise))
    result = vauban("audit", "--plain")
    assert result.exit_code == code, result.output
    (folder,) = (campaign.parent / "runs").iterdir()
    assert f"report: runs/{folder.name}/report.html" in result.stdout
    assert (folder / "report.html").is_file()
    found = Record.read(folder)["insider"]
    assert (found.robust.hits, found.robust.rows) == (
        66,
        81,
    )  # rows 33 to 40 and 41 to 47 lie nearer than 0.1; 32 and 48 only reach the boundary


def test_what_cannot_be_carried_out_is_2_and_leaves_no_folder(campaign: Path) -> None:
    campaign.write_text(CAMPAIGN.format(promise=0.5).replace("half.py:Half", "half.py:Hlaf"))
    result = vauban("audit")
    assert result.exit_code == 2
    assert "Hlaf" in result.stderr
    assert not (campaign.parent / "runs").exists()


def test_the_same_command_again_does_nothing_and_says_the_same(campaign: Path) -> None:
    first, again = vauban("audit", "--plain"), vauban("audit", "--plain")
    assert first.stdout == again.stdout
    assert "finished before" in again.stderr
    assert len(list((campaign.parent / "runs").iterdir())) == 1
    assert vauban("audit", "--fresh", "-q").stdout == ""
    assert vauban("audit", "--seed", "5", "-q").exit_code == 0
    assert len(list((campaign.parent / "runs").iterdir())) == 3
    newest = Record.read(sorted((campaign.parent / "runs").iterdir())[-1])
    assert (newest.seed, newest.command) == (5, "vauban audit vauban.toml --seed 5")


def test_json_is_one_event_a_line_and_the_verdict_last(campaign: Path) -> None:
    events: list[dict[str, Any]] = [json.loads(line) for line in vauban("audit", "--json").stdout.splitlines()]
    assert [e["event"] for e in events] == [
        "opened",
        "siege-started",
        "chunk-started",
        "attack-finished",
        "chunk-finished",
        "finished",
        "verdict",
    ]
    assert events[-1]["exit_code"] == 0
    assert Record.read(Path(events[-1]["record"])).holds


def test_a_run_folder_can_be_named_and_inputs_left_out(campaign: Path) -> None:
    assert vauban("audit", "--run", "here", "--no-inputs", "-q").exit_code == 0
    assert Record.read(Path("here")).complete
    assert not Path("here/adversarial").exists()
    assert not Path("runs").exists()
    result = vauban("audit", "--run", "here", "-q")  # with inputs: another plan
    assert result.exit_code == 2
    assert "left as it is" in result.stderr


def test_judge_believes_nothing_of_a_file(campaign: Path) -> None:
    x = np.full((3, 2), 0.5, dtype=np.float32)
    x[:, 0] = [0.48, 0.45, 0.55]
    np.savez("other.npz", x_adv=x, row=np.array([45, 60, 42]), y=np.array([1, 1, 0]))
    result = vauban("judge", "other.npz", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["labels_differ"] == 1
    (threat,) = told["threats"]
    assert (threat["given"], threat["inside"], threat["fooled"]) == (3, 2, 1)
    assert [f["row"] for f in threat["failures"]] == [42, 60]
    shown = vauban("judge", "other.npz", "--plain")
    assert "row 60: its distance 0.3 is more than eps = 0.1" in shown.stdout
    assert "row 42: the target is not fooled: it answers 1" in shown.stdout


def test_judge_of_what_fits_not_is_2(campaign: Path) -> None:
    np.savez("other.npz", x_adv=np.zeros((3, 5)))
    result = vauban("judge", "other.npz")
    assert result.exit_code == 2
    assert "shape" in result.stderr
