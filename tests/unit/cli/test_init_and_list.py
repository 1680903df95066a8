"""`init` writes files that can be read, and `list` lists what is there."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vauban.campaign.file import read_text
from vauban.cli.template import Answers, campaign_text, goal_text
from vauban.errors import BadPlan

Run = Callable[..., Any]


def test_init_writes_a_file_that_can_be_read(vauban: Run, tmp_path: Path) -> None:
    done = vauban(
        "init", "--model", "m.py:build", "--data", "d.npz", "--goal", "spoof->live", "--norm", "l2", "--promise", "0.4", "--bounds", "0,255"
    )
    assert done.code == 0, done
    raw = tomllib.loads((tmp_path / "vauban.toml").read_text())
    assert raw["target"]["load"] == "m.py:build"
    assert raw["data"] == {"load": "d.npz", "bounds": [0, 255]}
    assert raw["threat"][0] == {
        "name": "insider",
        "norm": "l2",
        "eps": 0.5,
        "goal": {"wanted": "live", "from": ["spoof"]},
        "suite": "vauban",
    }
    assert raw["promise"] == {"insider": {"robust_accuracy": 0.4}}


def test_init_overwrites_only_when_told_to(vauban: Run, tmp_path: Path) -> None:
    (tmp_path / "vauban.toml").write_text("mine")
    words = ("init", "--model", "m.py:build", "--data", "d.npz")
    done = vauban(*words)
    assert (done.code, (tmp_path / "vauban.toml").read_text()) == (2, "mine")
    assert "--force" in done.err
    assert vauban(*words, "--force").code == 0
    assert (tmp_path / "vauban.toml").read_text() != "mine"


def test_init_without_a_terminal_asks_nothing_and_says_what_is_missing(vauban: Run, tmp_path: Path) -> None:
    done = vauban("init", "--model", "m.py:build", text="d.npz\n")
    assert done.code == 2
    assert done.err.startswith("vauban: --data is missing, and there is no terminal to ask at")
    assert not (tmp_path / "vauban.toml").exists()


def test_init_refuses_what_no_campaign_can_mean(vauban: Run, tmp_path: Path) -> None:
    done = vauban("init", "--model", "m.py:build", "--data", "d.npz", "--promise", "40")
    assert done.code == 2
    assert "robust_accuracy = 40 must lie in [0, 1]: it is a share, not a percentage; did you mean 0.4?" in done.err
    assert not (tmp_path / "vauban.toml").exists()


@pytest.mark.parametrize(
    "answers",
    [
        Answers("m.py:build", "d.npz"),
        Answers('q"uote\\.onnx', "a b.csv", weights="w", classes='spoof, "live"', threat='in "sider"', promise="0.25", access="label"),
        Answers("m.onnx", "d.npz", goal="3", eps="inf", norm="l0"),
    ],
)
def test_whatever_was_answered_the_file_can_be_read(answers: Answers) -> None:
    model = read_text(campaign_text(answers))
    assert (model.target.load, model.data.load, model.threat[0].name) == (answers.model, answers.data, answers.threat)


def test_the_comments_of_the_file_are_keys_that_exist() -> None:
    """Every commented line that sets a key can be uncommented."""
    text = campaign_text(Answers("m.py:build", "d.npz"))
    for line in [n for n in text.splitlines() if n.startswith("# ") and (" = " in n or n.startswith("# [["))]:
        text = text.replace(line, line[2:])
    model = read_text(text)
    assert model.threat[0].attack[0].settings == {"steps": 100}
    assert model.run.inputs is False


@pytest.mark.parametrize("goal", ["->live", "spoof->", ""])
def test_half_a_goal_is_refused(goal: str) -> None:
    with pytest.raises(BadPlan, match="cannot be read"):
        goal_text(goal)


def test_lists_name_what_is_registered(vauban: Run) -> None:
    attacks = json.loads(vauban("list", "--json").out)
    pgd = next(a for a in attacks if a["name"] == "pgd")
    assert pgd["access"] == "gradient"
    assert pgd["settings"]["steps"] == 40
    assert [a["name"] for a in attacks] == sorted(a["name"] for a in attacks)
    assert "arXiv:1706.06083" in vauban("list", "attacks").out


@pytest.mark.parametrize(("what", "word"), [("suites", "standard"), ("doubts", "zero-gradients"), ("outputs", "log-probabilities")])
def test_every_list_prints(vauban: Run, what: str, word: str) -> None:
    assert word in vauban("list", what).out


def test_an_unknown_list_or_verb_is_2(vauban: Run) -> None:
    assert vauban("list", "atacks").err == "vauban: there is no list of 'atacks'; did you mean 'attacks'?\n"
    assert vauban("gaet").code == 2
    assert vauban().code == 2
    assert vauban("--version").out.startswith("vauban ")
