"""`vauban harden` with methods that choose their epoch otherwise, or need a model that can reject."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = """
import numpy as np
import torch
from torch import nn


def build(outputs=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, outputs))


def wide():
    return build(4)


def rows(seed, n):
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = 0.4 + 0.03 * draw.standard_normal((n, 1, 4, 4))
    x[np.arange(n), 0, y, 0] += 0.5
    return {"x": x.clip(0, 1).astype("float32"), "y": y}


def training():
    return rows(1, 300)


def held_out():
    return rows(2, 40)
"""
FILE = """
[target]
load = "model.py:build"
outputs = "logits"

[data]
load = "model.py:held_out"
layout = "chw"

[[threat]]
name = "insider"
eps = "1/20"
attack = [{ name = "pgd", steps = 10, step = 0.25, loss = "selective" }]

[harden]
epochs = 6
batch = 32
lr = 2e-2
method = { name = "ibp", widening = 1.5 }

[harden.data]
load = "model.py:training"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "vauban.toml").write_text(FILE)
    return tmp_path


def vauban(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vauban.cli", *words], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )  # fmt: skip


def change(folder: Path, *pairs: tuple[str, str]) -> None:
    text = (folder / "vauban.toml").read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "vauban.toml").write_text(text)


def test_training_for_bounds_tells_what_is_certified(folder: Path) -> None:
    done = vauban(folder, "harden")
    assert done.returncode == 0, done.stderr
    assert "epoch 6 of 6: clean" in done.stderr and ", certified " in done.stderr and "certified (chosen by)" in done.stdout
    told = json.loads(vauban(folder, "--json", "harden").stdout)
    chosen = [e["chosen"] for e in told["history"]]
    assert {e["chosen_by"] for e in told["history"]} == {"certified"}
    assert chosen[told["best"]] == max(chosen) > 0.8


def test_a_null_class_needs_its_column_and_an_audit_counts_what_it_rejects(folder: Path) -> None:
    change(folder, ('{ name = "ibp", widening = 1.5 }', '{ name = "null-class" }'))
    without = vauban(folder, "harden")
    assert without.returncode == 2 and "reject = K under [target]" in without.stderr
    change(folder, ("model.py:build", "model.py:wide"), ('outputs = "logits"', 'outputs = "logits"\nreject = 3'))
    done = vauban(folder, "harden", "--epochs", "12")
    assert done.returncode == 0 and "right and not fooled" in done.stdout, done.stderr
    change(folder, ("reject = 3", 'reject = 3\nweights = "hardened.safetensors"'))
    audited = vauban(folder, "audit")
    assert audited.returncode == 0 and "Declined to answer" in audited.stdout, audited.stderr
    change(folder, ("reject = 3", "reject = 4"))
    beyond = vauban(folder, "audit")
    assert beyond.returncode == 2 and "reject" in beyond.stderr
