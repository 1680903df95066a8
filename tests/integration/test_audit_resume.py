"""An audit that is killed, interrupted and gone on with comes to the same record as one that was left alone, and repeats nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from children import start

from vauban.campaign.file import plan_of, read_file
from vauban.campaign.record import Record
from vauban.campaign.run import audit_plan
from vauban.campaign.verdict import verdict

MODEL = '''
import os, time
import numpy as np
import torch
from torch import nn


class Slow(nn.Module):
    """A half-space in feature 1; feature 0 names the row and may not change. Writes down every row it is asked about."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.0, 1.0, 0.4]))

    def forward(self, x):
        with open(os.environ["CALLS"], "a") as file:
            file.write(" ".join(str(round(float(v) * 100)) for v in x.detach()[:, 0]) + "\\n")
        time.sleep(float(os.environ.get("SLOW", "0")))
        z = x @ self.w - 0.7
        return torch.stack([-z, z], 1)


def rows():
    random = np.random.default_rng(3)
    x = random.random((20, 3)).astype(np.float32)
    x[:, 0] = np.arange(20) / 100
    return x, (x @ np.array([0.0, 1.0, 0.4], dtype=np.float32) > 0.7).astype(int)
'''
CAMPAIGN = """
title = "killed"
[target]
load = "slow.py:Slow"
[data]
load = "slow.py:rows"
[[threat]]
name = "insider"
eps = 0.1
mask = [false, true, true]
[[threat.attack]]
name = "uniform-noise"
[[threat.attack]]
name = "pgd"
steps = 5
[[threat]]
name = "outsider & co"
eps = 0.2
norm = "l2"
mask = [false, true, true]
[[threat.attack]]
name = "ddn"
steps = 6
[promise]
insider = { robust_accuracy = 0.1 }
[run]
chunk = 4
inputs = false
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(MODEL)
    (tmp_path / "vauban.toml").write_text(CAMPAIGN)
    return tmp_path / "vauban.toml"


def begin(campaign: Path, slow: float) -> subprocess.Popen[str]:
    env = {**os.environ, "CALLS": str(campaign.parent / "calls.txt"), "SLOW": str(slow), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "vauban.cli", "audit", campaign.name]
    return start(words, campaign.parent, env)


def finished(campaign: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(campaign.parent.glob("runs/*/chunks/*/*.json"))}


def stop_after(campaign: Path, process: subprocess.Popen[str], chunks: int, how: signal.Signals) -> tuple[dict[Path, bytes], str]:
    """Wait for some chunks, send the signal, and give the chunks that were finished and what was said on standard error."""
    end = time.monotonic() + 60
    while len(finished(campaign)) < chunks and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    return finished(campaign), said


def asked(campaign: Path) -> Counter[int]:
    """How often the model was asked about each row, since this was last called."""
    calls = campaign.parent / "calls.txt"
    words = calls.read_text().split() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return Counter(map(int, words))


def timeless(record: Record) -> Record:
    """A record without its times and its command."""
    findings = tuple(replace(f, seconds=0.0, attacks=tuple(replace(a, seconds=0.0) for a in f.attacks)) for f in record.findings)
    return replace(record, findings=findings, seconds=0.0, started="", command="")


def test_killed_interrupted_and_gone_on_with_is_the_same_as_left_alone(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, _ = stop_after(campaign, begin(campaign, 0.03), 1, signal.SIGKILL)
    assert 1 <= len(killed) < 10
    assert not list(campaign.parent.glob("runs/*/record.json"))
    asked(campaign)

    process = begin(campaign, 0.03)
    interrupted, said = stop_after(campaign, process, len(killed) + 2, signal.SIGINT)
    assert process.returncode == 130
    assert "run the same audit again and it goes on from there" in said
    assert {p: interrupted[p] for p in killed} == killed, "a finished chunk was written again"
    rows_done = {f["row"] for p in killed if p.parent.name == "insider" for f in json.loads(killed[p])["fates"]}
    counts = asked(campaign)
    only_insider = all(p.parent.name == "insider" for p in interrupted)
    assert only_insider
    assert all(counts[row] <= 1 for row in rows_done), "a finished chunk was asked again, beyond the one look at the model"
    (folder,) = campaign.parent.glob("runs/*")
    unfinished = Record.read(folder)
    assert not unfinished.complete
    assert [f.name for f in unfinished.findings] == ["insider"]
    assert unfinished["insider"].robust.rows == 4 * len(interrupted)

    process = begin(campaign, 0.0)
    _, said = process.communicate(timeout=60)
    assert process.returncode == int(verdict(Record.read(folder))), said
    assert f"{len(interrupted)} of 10 chunks done before" in said
    assert {p: b for p, b in finished(campaign).items() if p in interrupted} == interrupted
    assert list(campaign.parent.glob("runs/*")) == [folder]

    monkeypatch.setenv("CALLS", str(campaign.parent / "calls.txt"))
    asked(campaign)
    alone = audit_plan(plan_of(read_file(campaign), campaign))
    resumed = Record.read(folder)
    assert timeless(resumed) == timeless(alone)

    asked(campaign)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    again = audit_plan(plan_of(read_file(campaign), campaign), folder=campaign.parent / "runs")
    assert again == resumed
    assert not asked(campaign), "a finished run asked the model"
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
