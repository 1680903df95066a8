"""The matrix on reference data: its files name every defence and every way of training, what is kept has them all, and verdicts follow from it."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.matrix.__main__ import HERE, NAMES, called, settings_of, stood

from vauban.campaign.file import read_file
from vauban.campaign.matrix.contenders import BARE, contenders_of
from vauban.defences import DEFENCES
from vauban.defences.training import METHODS

ROOT = Path(__file__).parents[3]
EVERYTHING = {*DEFENCES, *METHODS}


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/measured_part.py, imported."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import measured_part

    return measured_part


def test_the_files_name_every_defence_and_every_way_of_training() -> None:
    labels = {c.label for name in NAMES for c in contenders_of(read_file(HERE / f"{name}.toml"))}
    assert labels - {BARE} == EVERYTHING, "add a line to benchmarks/matrix/digits.toml and run python -m benchmarks.matrix"


def test_what_is_kept_has_every_defence_and_every_way_of_training(part: ModuleType) -> None:
    with part.MATRIX.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["defence"] for line in lines} - {BARE} == EVERYTHING, "run python -m benchmarks.matrix"
    assert all(part.measured(name).startswith("## Measured") for name in EVERYTHING)


def whole(adaptive: tuple[float, float], naive: tuple[float, float] | None = None) -> dict[str, str]:
    """A line of which so many rows fell, by the ends of its intervals."""
    ends = dict(zip(("adaptive_low", "adaptive_high"), map(str, adaptive), strict=True))
    known = (
        dict.fromkeys(("naive", "naive_low", "naive_high"), "")
        if naive is None
        else {"naive": "0", "naive_low": str(naive[0]), "naive_high": str(naive[1])}
    )
    return ends | known


def test_a_verdict_says_no_more_than_the_intervals(part: ModuleType) -> None:
    bare = whole((0.6, 0.7))
    assert part.verdict(whole((0.2, 0.5)), bare) == "It withstands more than the undefended network does."
    assert part.verdict(whole((0.8, 0.9), (0.1, 0.2)), bare) == "It withstands less than the undefended network does."
    assert part.verdict(whole((0.55, 0.65)), bare) == "It buys nothing that so many rows can tell."
    assert "seems to help" in part.verdict(whole((0.55, 0.65), (0.2, 0.3)), bare)
    assert "seems to help" not in part.verdict(whole((0.55, 0.65), (0.5, 0.6)), bare)


def test_what_stood_is_what_did_not_fall() -> None:
    line = {"adaptive": "0.7", "adaptive_low": "0.6", "adaptive_high": "0.75", "naive": ""}
    assert stood(line, "adaptive") == "30% (25% to 40%)" and stood(line, "naive") == ""


def test_a_line_tells_its_settings_and_what_else_stands_there() -> None:
    given = {
        "harden": {"method": {"name": "multi-norm", "l2": 0.5}, "epochs": 15},
        "defence": [{"name": "max-softmax"}, {"name": "own-step", "load": "a.py:b"}],
    }
    assert settings_of(given) == "15 epochs, l2 = 0.5"
    assert called({"defence": "ccat", "wears": "ccat, max-softmax", "settings": "l2 = 0.5"}) == "`ccat` (with `max-softmax`, l2 = 0.5)"
    assert called({"defence": BARE, "wears": "", "settings": ""}) == BARE
