"""`vauban certify` as a user meets it: tables, files, promises, a killed run that goes on, and what cannot be proven."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from children import start
from click.testing import Result
from typer.testing import CliRunner

from vauban.cli.main import application, asked, hoisted

MODEL = """
import numpy as np
import torch
from torch import nn


def build():
    # the nearer of three points: the first pixel, the second, or the third is bright
    line = nn.Linear(16, 3, bias=False)
    with torch.no_grad():
        line.weight.zero_()
        line.weight[torch.arange(3), torch.arange(3)] = 10.0
    return nn.Sequential(nn.Flatten(), line)


def slow():
    import time

    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build()

        def forward(self, x):
            time.sleep(0.01)
            return self.inner(x)

    return Slow()


def forest():
    from sklearn.ensemble import RandomForestClassifier

    d = rows(1, 300)
    return RandomForestClassifier(5, max_depth=4, random_state=0).fit(d["x"].reshape(300, -1), d["y"])


def neighbours():
    from sklearn.neighbors import KNeighborsClassifier

    d = rows(1, 60)
    return KNeighborsClassifier(3).fit(d["x"].reshape(60, -1), d["y"])


def rows(seed, n):
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = 0.3 + 0.03 * draw.standard_normal((n, 1, 4, 4))
    x[np.arange(n), 0, 0, y] += 0.4
    return {"x": x.clip(0, 1).astype("float32"), "y": y, "classes": ["a", "b", "c"]}


def held_out():
    return rows(2, 60)
"""
FILE = """
[target]
load = "model.py:build"
access = "label"

[data]
load = "model.py:held_out"
layout = "chw"

[[threat]]
name = "short"
norm = "l2"
eps = 0.15

[[threat]]
name = "long"
norm = "l2"
eps = 0.5

[[threat]]
name = "turned"
rotation = 10

[promise.short]
robust_accuracy = 0.9
"""
SMOOTH = """
[[defence]]
name = "randomised-smoothing"
sigma = 0.2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "vauban.toml").write_text(FILE)
    return tmp_path


def vauban(folder: Path, *words: str) -> Result:
    """The command line in this process, with the folder as the working directory."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(application(asked(hoisted(list(words)))), hoisted(list(words)))
    finally:
        os.chdir(here)


def certified(folder: Path, *words: str) -> tuple[dict, dict[str, dict]]:
    done = vauban(folder, "--json", "certify", *words)
    said = json.loads(done.stdout or "{}")
    assert said.get("exit_code") == done.exit_code, done.stderr
    return said, {t["threat"]: t for t in said["threats"]}


def edited(folder: Path, **changes: str) -> None:
    text = (folder / "vauban.toml").read_text()
    for old, new in changes.items():
        text = text.replace(*(f'"model.py:{old}"', f'"model.py:{new}"') if old == "build" else (old, new))
    (folder / "vauban.toml").write_text(text)


def test_a_network_is_certified_by_bounds_exactly_where_its_margin_allows(folder: Path) -> None:
    said, threats = certified(folder)
    assert said["exit_code"] == 0 and said["promises"][0]["verdict"] == "holds"
    # each row's boundary lies (0.4 + noise) / sqrt(2), some 0.28, away
    assert threats["short"]["method"] == "bounds" and threats["short"]["certified_accuracy"] > 0.9
    assert threats["long"]["certified_accuracy"] == 0 and threats["long"]["verdicts"]["open"] == 60
    assert "certificates are for balls" in threats["turned"]["unable"]


def test_a_smoothed_model_is_certified_by_sampling_with_a_curve(folder: Path) -> None:
    (folder / "vauban.toml").write_text(FILE + SMOOTH)
    said, threats = certified(folder, "--radii", "0.1,0.25")
    short = threats["short"]
    assert said["exit_code"] == 0 and short["method"] == "smoothing" and short["alpha"] == 0.001
    assert [p["radius"] for p in short["curve"]] == [0.1, 0.15, 0.25]
    shares = [p["share"] for p in short["curve"]]
    assert shares[0] == 1.0 >= shares[1] > 0.9 > 0.3 > shares[2]
    assert 32 <= short["samples_per_row"] < 20_000
    table = next((folder / said["folder"]).glob("short-*/certificates.parquet"))
    rows = pq.read_table(table).to_pylist()
    assert [r["row"] for r in rows] == sorted(r["row"] for r in rows) and len(rows) == 60
    assert sum(r["radius"] is not None and r["radius"] >= 0.15 for r in rows) == short["verdicts"]["certified"]


def test_what_is_shown_to_people_names_the_chance_and_the_numbers(folder: Path) -> None:
    (folder / "vauban.toml").write_text(FILE + SMOOTH)
    done = vauban(folder, "--plain", "certify", "--rows", "12")
    assert done.exit_code == 3, "twelve rows cannot keep a promise of 90%"
    assert "short: inconclusive" in done.stdout and "what is not certified may still hold" in done.stdout
    assert "but for chance 0.001" in done.stdout and "short: radius" in done.stdout and "12" in done.stdout
    assert "turned: unable: certificates are for balls" in done.stdout


def test_trees_are_certified_by_their_leaves_and_neighbours_by_nothing(folder: Path) -> None:
    edited(folder, build="forest", access="#")
    edited(folder, **{'# = "label"': ""})
    _, threats = certified(folder)
    assert threats["short"]["method"] == "trees" and threats["short"]["rows"] == 60
    edited(folder, **{"model.py:forest": "model.py:neighbours"})
    said, threats = certified(folder)
    assert said["exit_code"] == 2 and "randomised-smoothing" in threats["short"]["unable"]
    (folder / "vauban.toml").write_text((folder / "vauban.toml").read_text() + SMOOTH)
    said, threats = certified(folder, "--rows", "4", "--samples", "2000")
    assert threats["short"]["method"] == "smoothing" and threats["short"]["verdicts"]["certified"] >= 2


def test_certified_rows_are_not_certified_again_unless_it_is_wanted(folder: Path) -> None:
    (folder / "vauban.toml").write_text(FILE + SMOOTH)
    few = ("--rows", "15", "--samples", "3000")
    said, first = certified(folder, *few)
    journal = next((folder / said["folder"]).glob("short-*/rows.jsonl"))
    before = journal.read_bytes()
    said, again = certified(folder, *few)
    assert journal.read_bytes() == before and again == first
    certified(folder, *few, "--fresh")
    assert journal.read_bytes() != before, "times differ at least"
    assert len(list((folder / said["folder"]).glob("short-*"))) == 1
    certified(folder, *few, "--alpha", "0.01")
    assert len(list((folder / said["folder"]).glob("short-*"))) == 2, "another alpha is another statement"


def test_a_killed_run_goes_on_with_the_rows_that_are_left(folder: Path) -> None:
    (folder / "vauban.toml").write_text(FILE.replace("model.py:build", "model.py:slow") + SMOOTH)
    going = start([sys.executable, "-m", "vauban.cli", "certify"], folder, {**os.environ, "OMP_NUM_THREADS": "1"})
    limit, journal = time.monotonic() + 90, None
    while time.monotonic() < limit and going.poll() is None:
        journal = next((folder / "runs" / "certificates").glob("short-*/rows.jsonl"), None) if (folder / "runs").is_dir() else None
        if journal is not None and journal.read_bytes().count(b"\n") >= 5:
            break
        time.sleep(0.02)
    going.send_signal(signal.SIGKILL)
    going.communicate()
    assert journal is not None
    kept = journal.read_bytes()
    whole = kept[: kept.rfind(b"\n") + 1]
    assert 5 <= whole.count(b"\n") < 60
    journal.write_bytes(whole + b'{"row": 5, "la')  # the line that was being written
    edited(folder, **{'[[threat]]\nname = "long"\nnorm = "l2"\neps = 0.5\n': ""})
    done = vauban(folder, "certify")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "rows were certified before" in done.stderr
    assert journal.read_bytes().startswith(whole) and journal.read_bytes().count(b"\n") == 60


def test_what_cannot_be_asked_for_is_one_clear_sentence(folder: Path) -> None:
    (folder / "vauban.toml").write_text(FILE + SMOOTH)
    few = vauban(folder, "certify", "--samples", "40")
    assert few.exit_code == 2 and "allow at least" in few.stderr and "Traceback" not in few.stderr
    level = vauban(folder, "certify", "--level", "crwn")
    assert level.exit_code == 2 and "did you mean 'crown'" in level.stderr
    (folder / "vauban.toml").write_text(FILE + SMOOTH.replace("0.2", "40"))
    noisy = vauban(folder, "certify")
    assert noisy.exit_code == 2 and "no better than guessing" in noisy.stderr
    (folder / "vauban.toml").write_text(FILE + SMOOTH.replace("0.2", "0.01"))
    small = vauban(folder, "certify")
    assert small.exit_code == 2 and "take a larger sigma" in small.stderr


def test_a_directional_goal_counts_the_rows_of_its_source(folder: Path) -> None:
    text = FILE.replace('name = "short"\n', 'name = "short"\ngoal = { wanted = "b", from = ["a"] }\n').replace(
        "[promise.short]\nrobust_accuracy = 0.9\n", ""
    )
    (folder / "vauban.toml").write_text(text)
    _, threats = certified(folder)
    assert threats["short"]["rows"] == 20 and threats["short"]["certified_accuracy"] > 0.9
    assert threats["long"]["rows"] == 60
