"""Which run folder a campaign goes on in, and that nobody else's is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vauban.attacks import find
from vauban.campaign.plan import Plan
from vauban.campaign.record import Promise
from vauban.campaign.run import open_exactly, open_run
from vauban.data import Rows
from vauban.errors import BadRun
from vauban.target import Torch

Make = Callable[..., Plan]
Data = Callable[..., Rows]


@pytest.fixture
def made(plan: Make, rows: Data) -> Plan:
    return plan(rows([0.55, 0.8], [1, 1]))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_plan_goes_on_in_the_newest_folder(made: Plan, tmp_path: Path) -> None:
    first, second = open_run(made, tmp_path), open_run(made, tmp_path, fresh=True)
    assert first.path != second.path
    assert second.path.name.endswith("-2")
    assert open_run(made, tmp_path) == second


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, seed=1),
        lambda p: replace(p, chunk=7),
        lambda p: replace(p, keep_inputs=False),
        lambda p: replace(p, resolved={"target": "other.py:model"}),
        lambda p: replace(p, data=replace(p.data, x=p.data.x * 0.99)),
        lambda p: replace(p, data=replace(p.data, y=torch.tensor([1, 0]))),
        lambda p: replace(p, sieges=(replace(p.sieges[0], attacks=(find("pgd").bind(steps=3),)),)),
        lambda p: replace(p, sieges=(replace(p.sieges[0], attacks=(p.sieges[0].attacks[0].spending(5),)),)),
        lambda p: replace(p, sieges=(replace(p.sieges[0], curve=False),)),
        lambda p: replace(p, sieges=(replace(p.sieges[0], threat=replace(p.sieges[0].threat, queries=9)),)),
        lambda p: replace(p, target=Torch(p.target.model, outputs="logits", mean=0.1)),
        lambda p: replace(p, target=Torch(nn.Linear(3, 2), outputs="logits")),
    ],
)
def test_whatever_a_number_depends_on_makes_another_run(made: Plan, tmp_path: Path, change: Callable[[Any], Plan]) -> None:
    assert open_run(made, tmp_path).path != open_run(change(made), tmp_path).path


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, title="another title"),
        lambda p: replace(p, promises=(Promise("insider", 0.5),)),
        lambda p: replace(p, max_rows=3),
        lambda p: replace(p, resolved={"title": "x", "promises": {}, "run": {"chunk": 250, "max_rows": 3}}),
    ],
)
def test_words_and_speed_make_no_other_run(made: Plan, tmp_path: Path, change: Callable[[Any], Plan]) -> None:
    assert open_run(made, tmp_path).path == open_run(change(made), tmp_path).path


def test_a_weight_makes_another_run(made: Plan, tmp_path: Path) -> None:
    first = open_run(made, tmp_path)
    with torch.no_grad():
        made.target.model.threshold.add_(0.01)  # pyright: ignore
    assert open_run(made, tmp_path).path != first.path


def test_the_use_of_a_target_makes_no_other_run(made: Plan, tmp_path: Path) -> None:
    auto = replace(made, target=Torch(nn.Linear(3, 2)))
    first = open_run(auto, tmp_path)
    auto.target.prepare(10 * torch.randn(64, 3))
    assert auto.target.outputs == "logits"
    assert open_run(auto, tmp_path).path == first.path


@pytest.mark.parametrize("head", [{"vauban": "0.0.1"}, {"format": 99}, {"plan_sha256": "00"}])
def test_a_folder_of_another_version_layout_or_plan_is_never_touched(made: Plan, tmp_path: Path, head: dict[str, Any]) -> None:
    path = tmp_path / "mine"
    open_exactly(made, path)
    plan = path / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), **head}))
    before = contents(path)
    with pytest.raises(BadRun, match="left as it is: give another folder"):
        open_exactly(made, path)
    assert open_run(made, tmp_path).path != path
    assert contents(path) == before


def test_a_folder_that_is_no_run_is_never_touched(made: Plan, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadRun, match="not a run folder, and not empty"):
        open_exactly(made, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_exact_folder_is_begun_once_and_then_gone_on_with(made: Plan, tmp_path: Path) -> None:
    first = open_exactly(made, tmp_path / "a" / "b")
    assert open_exactly(made, tmp_path / "a" / "b") == first
    with pytest.raises(BadRun, match="holds a run already"):
        open_exactly(made, tmp_path / "a" / "b", fresh=True)


def test_damaged_heads_are_passed_over(made: Plan, tmp_path: Path) -> None:
    for i, text in enumerate(["", "{", "[]", "3", '{"format": "one"}']):
        (tmp_path / f"2020-01-01-{i}").mkdir()
        (tmp_path / f"2020-01-01-{i}" / "plan.json").write_text(text)
    assert open_run(made, tmp_path) == open_run(made, tmp_path)
