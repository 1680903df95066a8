"""The command line in a process of its own, and small records for it to read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from vauban.campaign.cards import DataCard, TargetCard, ThreatCard
from vauban.campaign.record import Doubt, Finding, Promise, Record, pack_bits, pack_ids
from vauban.measure.rate import Rate

Run = Callable[..., "Done"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def vauban(tmp_path: Path) -> Run:
    """Run the command line in `tmp_path`."""

    def run(*words: str | Path, text: str = "") -> Done:
        code = [sys.executable, "-m", "vauban.cli", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}
        done = subprocess.run(code, capture_output=True, text=True, cwd=tmp_path, input=text, check=False, env=environment)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


CARD = ThreatCard("insider", "gradient access, Linf within 8/255, any wrong class", "gradient", "linf", 8 / 255, "any wrong class")


def record(
    standing: int = 300, rows: int = 400, *, promise: float | None = 0.5, doubts: tuple[Doubt, ...] = (), complete: bool = True
) -> Record:
    """One threat, `standing` of `rows` rows withstanding it."""
    held = pack_bits([i < standing for i in range(rows)])
    found = Finding(CARD, Rate(standing, rows), Rate(380, 400), "all rows", (), rows=pack_ids(range(rows)), held=held, doubts=doubts)
    target = TargetCard("cnn", "torch", "gradient", "logits", ("spoof", "live"))
    data = DataCard("d.npz", rows, (1, 8, 8), "ab", 0.0, 1.0, "image")
    promises = () if promise is None else (Promise("insider", promise),)
    return Record("t", target, data, (found,), promises, complete=complete)


DOUBTED = (Doubt("zero-gradients", "gradients vanish for 90% of the rows"),)
RECORDS = {
    "holds": record(),
    "breached": record(standing=100),
    "inconclusive": record(standing=205),
    "doubted": record(doubts=DOUBTED),
    "unfinished": record(complete=False),
    "unfinished-breached": record(standing=100, complete=False),
    "nothing-attacked": replace(record(), findings=(replace(record().findings[0], robust=Rate(0, 0)),)),
    "missing-threat": replace(record(), promises=(Promise("insider", 0.5), Promise("outsider", 0.5))),
    "unpromised": record(promise=None),
    "weaker": record(standing=280),
    "a-bit-weaker": record(standing=297),
    "other-data": replace(record(), data=replace(record().data, sha256="cd")),
}


@pytest.fixture
def records() -> dict[str, Record]:
    """Every kind of record, by what becomes of it."""
    return RECORDS


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs, one for each kind of record; "doubted" is the newest."""
    for place, (name, kept) in enumerate(RECORDS.items()):
        kept.write(tmp_path / "runs" / name / "record.json")
        os.utime(tmp_path / "runs" / name / "record.json", (1000 + place + 100 * (name == "doubted"),) * 2)
    return tmp_path / "runs"
