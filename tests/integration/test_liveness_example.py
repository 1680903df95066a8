"""The liveness example runs from drawn faces to three reports, and the tutorial shows its very files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import blocks_of

from vauban.campaign.record import Record

ROOT = Path(__file__).parents[2]
EXAMPLE, TUTORIAL = ROOT / "examples" / "liveness", ROOT / "docs" / "tutorials" / "liveness.md"


@pytest.mark.slow  # half a minute; the example's other tests and the guard's demonstration run most of it
def test_the_demonstration_tells_the_error_rates_of_three_models(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "demo.py"), "faces", "--quick"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("standard", "hardened", "committee"):
        told = Record.read(tmp_path / "faces" / "runs" / name)["insider"].presented
        assert told is not None and {s.name for s in told.under.species} == {"print", "replay", "mask"}
        assert told.before.apcer <= told.under.apcer
        assert re.search(rf"(?m)^{name} +[\d.]+% at first, +[\d.]+% \[", done.stdout)
        assert (tmp_path / "faces" / "runs" / name / "report.html").stat().st_size > 10_000


def test_every_network_has_fewer_than_200_000_parameters(tmp_path: Path) -> None:
    code = "import models\nfor n in ('plain', 'mobile', 'mixer'): print(sum(p.numel() for p in getattr(models, n)().parameters()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLE, capture_output=True, text=True, check=True)
    assert all(int(line) < 200_000 for line in done.stdout.split()) and len(done.stdout.split()) == 3


def test_the_tutorial_shows_the_files_of_the_example() -> None:
    shown = {b.title: b.text for b in blocks_of(TUTORIAL) if b.title}
    for file in EXAMPLE.iterdir():
        if file.suffix in (".py", ".toml") and file.name != "demo.py":
            assert shown[file.name] == file.read_text(encoding="utf-8"), f"docs/tutorials/liveness.md shows another {file.name}"
