"""A campaign about texts from its file: check, audit, show and gate, each in the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vauban.campaign.record import Record
from vauban.cli.main import application, hoisted

FILTER = """
def spam(texts):
    return [[1.0, 2.0 * (" cash" in t)] for t in texts]
"""
CAMPAIGN = """
[target]
load = "filter.py:spam"
outputs = "logits"
[data]
load = "texts.csv"
kind = "text"
classes = ["ham", "spam"]
[[threat]]
name = "ghost"
norm = "edits"
eps = 8
families = ["homoglyph", "invisible"]
access = "score"
goal = { wanted = "ham", from = "spam" }
queries = 200
[promise]
ghost = { robust_accuracy = 0.5 }
"ghost, normalised" = { robust_accuracy = 0.3 }
"""


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f'"{name}, your cash is {how}",spam' for name in ("Anna", "Bruno", "Clara", "David") for how in ("here", "ready", "waiting")]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows, "see you at noon,ham"]) + "\n")
    (tmp_path / "filter.py").write_text(FILTER)
    (tmp_path / "vauban.toml").write_text(CAMPAIGN)
    return tmp_path / "vauban.toml"


def vauban(*words: str) -> Result:
    return CliRunner().invoke(application(), hoisted(list(words)))


def test_check_audit_show_and_gate(campaign: Path) -> None:
    checked = vauban("check", "--json")
    assert checked.exit_code == 0, checked.output
    told = json.loads(checked.stdout)
    assert (told["data"]["kind"], told["data"]["rows"]) == ("text", 13)
    assert {t["threat"] for t in told["attacks"]} == {"ghost", "ghost, normalised"}
    assert all(t["tried"] == 8 and t["broken"] == 0 for t in told["attacks"] if t["threat"] != "ghost")
    assert not (campaign.parent / "runs").exists()
    audited = vauban("audit", "--plain")
    assert audited.exit_code == 1, audited.output
    (folder,) = (campaign.parent / "runs").iterdir()
    assert f"report: runs/{folder.name}/report.html" in audited.stdout
    assert {p.name for p in folder.iterdir()} >= {"plan.json", "record.json", "report.html", "junit.xml", "adversarial.jsonl"}
    record = Record.read(folder)
    assert (record["ghost"].robust.hits, record["ghost"].robust.rows) == (0, 12)
    assert record["ghost, normalised"].robust.hits == 12
    assert (record.command, record.data.name, record.data.kind) == (
        "vauban audit vauban.toml --plain".removesuffix(" --plain"),
        "texts.csv",
        "text",
    )
    shown = vauban("show", "latest", "--plain")
    assert shown.exit_code == 0 and "look the same" in " ".join(shown.stdout.split())
    gated = vauban("gate", "--json")
    assert gated.exit_code == 1
    assert {j["threat"]: j["verdict"] for j in json.loads(gated.stdout)["judgements"]} == {
        "ghost": "breached",
        "ghost, normalised": "holds",
    }


def test_an_audit_never_writes_over_another(campaign: Path) -> None:
    assert vauban("audit", "-q").exit_code == vauban("audit", "-q", "--no-inputs").exit_code == 1
    first, second = sorted((campaign.parent / "runs").iterdir())
    assert Record.read(first)["ghost"].held == Record.read(second)["ghost"].held
    assert (first / "adversarial.jsonl").is_file() and not (second / "adversarial.jsonl").exists()
    assert not any("Bruno" in p.read_text() for p in second.iterdir())
    assert vauban("audit", "-q", "--run", "here").exit_code == 1
    before = (campaign.parent / "here" / "record.json").read_bytes()
    again = vauban("audit", "-q", "--run", "here")
    assert again.exit_code == 2 and "left as it is" in again.stderr
    assert (campaign.parent / "here" / "record.json").read_bytes() == before


def test_json_is_one_event_a_line_and_the_verdict_last(campaign: Path) -> None:
    events = [json.loads(line) for line in vauban("audit", "--json").stdout.splitlines()]
    assert events[0]["event"] == "opened" and events[-2]["event"] == "finished"
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("verdict", 1)
    left = [e["left"] for e in events if e["event"] == "attack-finished" and e["threat"] == "ghost"]
    assert left == sorted(left, reverse=True) and left[-1] == 0


def test_what_is_not_there_for_texts_is_told(campaign: Path) -> None:
    for words in (("harden",), ("judge", "a.npz")):
        result = vauban(*words)
        assert result.exit_code == 2
        assert 'vauban.toml:7: [data]: kind = "text": texts can be checked and audited, and nothing else' in result.stderr, result.stderr
    (campaign.parent / "texts.csv").write_text("text,label\n,spam\n")
    result = vauban("audit")
    assert result.exit_code == 2 and "texts.csv: row 0: the text is empty" in result.stderr
    assert not (campaign.parent / "runs").exists()
