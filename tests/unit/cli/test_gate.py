"""The gate's exit codes: 0 holds, 1 breached, 2 unable, 3 inconclusive; a crash is never 1."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pytest

Run = Callable[..., Any]


WAIVER = """[[waiver]]
threat = "insider"
metric = "robust accuracy"
until = {until}
reason = "ships hardened in 13"
by = "A. Rossi"
"""


@pytest.mark.parametrize(
    ("run", "code", "word"),
    [
        ("holds", 0, "HOLDS"),
        ("breached", 1, "BREACHED"),
        ("inconclusive", 3, "rows would decide"),
        ("doubted", 3, "gradients vanish"),
        ("unfinished", 2, "verdict: unable"),
        ("unfinished-breached", 1, "verdict: breached"),
        ("nothing-attacked", 2, "no row could be attacked"),
        ("missing-threat", 2, "no finding for the threat 'outsider'"),
    ],
)
def test_the_exit_code_is_the_verdict(vauban: Run, runs: Path, run: str, code: int, word: str) -> None:
    done = vauban("gate", runs / run)
    assert done.code == code, done
    assert word in done.out


def test_the_newest_run_is_gated_by_default(vauban: Run, runs: Path) -> None:
    assert "gradients vanish" in vauban("gate").out
    assert vauban("gate", "latest", "-q").code == 3


def test_a_gate_without_anything_to_hold_is_unable(vauban: Run, runs: Path) -> None:
    done = vauban("gate", "runs/unpromised")
    assert done.code == 2
    assert (
        done.err
        == "vauban: runs/unpromised: nothing was promised, so there is nothing to hold; give --promise THREAT=SHARE or --baseline RUN\n"
    )


@pytest.mark.parametrize(
    ("promise", "code", "said"),
    [
        ("insider=0.6", 0, ""),
        ("insider=0.9", 1, ""),
        ("insider=60", 2, "vauban: --promise insider=60: 60 must lie in [0, 1]: it is a share, not a percentage; did you mean 0.6?\n"),
        ("insider=x", 2, "vauban: --promise insider=x: 'x' is not a number; write it as in --promise insider=0.45\n"),
        ("insder=0.5", 2, "vauban: --promise insder=0.5: no threat of the run is named 'insder'; did you mean 'insider'?\n"),
        ("0.5", 2, "vauban: --promise 0.5: no threat of the run is named ''; known names: insider\n"),
    ],
)
def test_a_promise_can_be_made_on_the_command_line(vauban: Run, runs: Path, promise: str, code: int, said: str) -> None:
    done = vauban("gate", "runs/holds", "--promise", promise)
    assert (done.code, done.err) == (code, said)


@pytest.mark.parametrize(
    ("run", "code", "word"),
    [
        ("holds", 0, "it is no worse"),
        ("weaker", 1, "it got worse: 75.0% before and 70.0% now"),
        ("a-bit-weaker", 0, "it is no worse: 75.0% before and 74.2% now (p = 0.25)"),
        ("other-data", 2, "the runs attacked different rows"),
        ("doubted", 3, "newly doubted: gradients vanish"),
    ],
)
def test_a_run_is_held_to_its_baseline(vauban: Run, runs: Path, run: str, code: int, word: str) -> None:
    done = vauban("gate", f"runs/{run}", "--baseline", "runs/holds")
    assert done.code == code, done
    assert word in done.out


def test_tolerance_asks_for_rows_where_a_drop_may_be_chance(vauban: Run, runs: Path) -> None:
    assert vauban("gate", "runs/a-bit-weaker", "--baseline", "runs/holds", "--tolerance", "0").code == 3


def test_a_baseline_is_enough_without_promises(vauban: Run, runs: Path) -> None:
    assert vauban("gate", "runs/unpromised", "--baseline", "runs/holds").code == 0


def test_a_waived_breach_holds_and_is_printed_as_waived(vauban: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WAIVER.format(until="2999-01-31"))
    done = vauban("gate", "runs/breached", "--waivers", "w.toml", "--junit", "out/gate.xml")
    assert done.code == 0
    assert "BREACHED" in done.out
    assert "(waived until 2999-01-31 by A. Rossi: ships hardened in 13)" in done.out
    (case,) = Tree.parse(tmp_path / "out/gate.xml").getroot().iter("testcase")
    assert case.find("skipped") is not None


def test_an_expired_waiver_does_not_count_and_is_said(vauban: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(WAIVER.format(until="2001-01-31"))
    done = vauban("gate", "runs/breached", "--waivers", "w.toml")
    assert done.code == 1
    assert "expired on 2001-01-31 and does not count" in done.err


def test_junit_shows_the_breach(vauban: Run, runs: Path, tmp_path: Path) -> None:
    assert vauban("gate", "runs/breached", "--baseline", "runs/holds", "--junit", "gate.xml", "-q").code == 1
    cases = list(Tree.parse(tmp_path / "gate.xml").getroot().iter("testcase"))
    assert [c.get("name") for c in cases if c.find("failure") is not None] == [
        "robust accuracy at least 50%",
        "robust accuracy against the baseline at least 75%",
    ]


def test_json_is_all_there_is_on_standard_output(vauban: Run, runs: Path) -> None:
    done = vauban("gate", "runs/breached", "--json")
    told = json.loads(done.out)
    assert (done.code, told["exit_code"], told["verdict"]) == (1, 1, "breached")
    assert told["judgements"][0]["measured"] == 0.25
    assert json.loads(vauban("--json", "gate", "runs/missing-threat").out)["judgements"][1]["measured"] is None


def test_quiet_prints_nothing(vauban: Run, runs: Path) -> None:
    done = vauban("gate", "runs/breached", "--quiet")
    assert (done.code, done.out, done.err) == (1, "", "")


@pytest.mark.parametrize(
    "words",
    [
        ("runs/nowhere",),
        ("runs/holds", "--baseline", "nowhere"),
        ("runs/holds", "--waivers", "nowhere"),
        ("runs/holds", "--tolerance", "7"),
        ("runs/holds", "--no-such"),
    ],
)
def test_what_cannot_be_judged_is_2_and_never_1(vauban: Run, runs: Path, words: tuple[str, ...]) -> None:
    done = vauban("gate", *words)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_damaged_record_is_2(vauban: Run, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema": 1, "title": 3}')
    done = vauban("gate", "record.json")
    assert done.code == 2
    assert done.err.startswith("vauban: record.json: not a record of Vauban: ")
