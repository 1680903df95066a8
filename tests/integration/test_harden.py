"""`vauban harden` as a user meets it: files in, weights out, and the audit afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from children import start
from safetensors.torch import load_file

from vauban.campaign.file import read_file
from vauban.campaign.file.hardening import hardening_of
from vauban.cli.harden import trained
from vauban.cli.output import Output
from vauban.errors import VaubanError
from vauban.target import Onnx, Torch

MODEL = """
import numpy as np
import torch
from torch import nn


def build():
    # right on clean pictures, and far too fond of the faint pixels
    line = nn.Linear(16, 3)
    with torch.no_grad():
        weight = torch.zeros(3, 4, 4)
        weight[torch.arange(3), torch.arange(3), 0] = 0.7
        weight[:, :3, 1:] = 0.3 * torch.tensor([-1.0, 0.0, 1.0])[:, None, None]
        line.weight.copy_(weight.flatten(1))
        line.bias.copy_(-weight.flatten(1).sum(1) / 2)
    return nn.Sequential(nn.Flatten(), line)


def rows(seed, n):
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = 0.5 + 0.03 * draw.standard_normal((n, 1, 4, 4))
    x[np.arange(n), 0, y, 0] += 0.35
    x[:, 0, :3, 1:] += 0.03 * (y[:, None, None] - 1)
    return {"x": x.clip(0, 1).astype("float32"), "y": y, "classes": ["a", "b", "c"]}


def training():
    return rows(1, 300)


def held_out():
    return rows(2, 60)
"""
FILE = """
[target]
load = "model.py:build"

[data]
load = "model.py:held_out"
layout = "chw"

[[threat]]
name = "blind"
access = "none"
eps = 0.1
suite = "baselines"

[[threat]]
name = "insider"
eps = "1/10"
attack = [{ name = "pgd", steps = 10, step = 0.25 }]

[promise.insider]
robust_accuracy = 0.7

[harden]
attack = { name = "pgd", steps = 3, step = 0.6 }
epochs = 10
batch = 32
lr = 5e-2

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


def test_hardening_turns_a_breach_into_a_promise_kept(folder: Path) -> None:
    before = vauban(folder, "--json", "audit")
    assert before.returncode == 1, before.stderr
    done = vauban(folder, "harden")
    assert done.returncode == 0, done.stderr
    assert 'weights = "hardened.safetensors"' in done.stdout and "times as long as plain training" in done.stdout
    assert "epoch 10 of 10" in done.stderr
    file = folder / "vauban.toml"
    file.write_text(file.read_text().replace('build"\n', 'build"\nweights = "hardened.safetensors"\n', 1))
    after = vauban(folder, "audit")
    assert after.returncode == 0, after.stdout + after.stderr


def test_a_finished_training_is_not_repeated_unless_it_is_wanted(folder: Path) -> None:
    first = json.loads(vauban(folder, "--json", "harden", "--epochs", "2").stdout)
    again = vauban(folder, "harden", "--epochs", "2")
    assert "finished before" in again.stdout and "epoch 1 of 2" not in again.stderr
    anew = vauban(folder, "harden", "--epochs", "2", "--fresh")
    assert "finished before" not in anew.stdout and "epoch 1 of 2" in anew.stderr
    other = vauban(folder, "harden", "--epochs", "3")
    assert other.returncode == 2 and "--fresh" in other.stderr
    assert len(first["history"]) == 3 and first["cost"] > 1


def test_a_lost_result_comes_back_from_the_checkpoint_and_out_says_where(folder: Path) -> None:
    assert vauban(folder, "harden", "--epochs", "1", "--out", "kept/w.safetensors").returncode == 0
    weights = load_file(folder / "kept" / "w.safetensors")
    (folder / "kept" / "w.safetensors").unlink()
    assert vauban(folder, "harden", "--epochs", "1", "--out", "kept/w.safetensors").returncode == 0
    assert set(load_file(folder / "kept" / "w.safetensors")) == set(weights)


def test_an_interrupted_training_says_how_to_go_on_and_goes_on(folder: Path) -> None:
    words = [sys.executable, "-m", "vauban.cli", "harden", "--epochs", "400"]
    going = start(words, folder)
    progress, limit = folder / "hardened.training" / "progress.json", time.monotonic() + 60
    while not progress.exists() and going.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    going.send_signal(signal.SIGINT)
    _, told = going.communicate(timeout=60)
    assert going.returncode == 130 and "the same command goes on" in told
    done = len(json.loads(progress.read_text())["history"]) - 1
    assert f"{done} of 400 epochs are kept" in told
    assert not (folder / "hardened.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('load = "model.py:training"', 'load = "model.py:held_out"'), ["60 of the audit's 60 rows", "[harden.data]"]),
        (('\n[harden.data]\nload = "model.py:training"\n', ""), ["no rows to train on", "[harden.data]"]),
        (("steps = 3, step = 0.6", "stepz = 3"), ["stepz", "did you mean 'step'"]),
        (('name = "pgd", steps = 3, step = 0.6', 'name = "fmn"'), ["smallest change"]),
        (("lr = 5e-2", "optimiser = 'adma'"), ["optimiser", "vauban.toml:"]),
        (("epochs = 10", "epochs = 10\nthreat = 'insidre'"), ["insidre", "did you mean 'insider'"]),
    ],
    ids=["the audit's rows", "no rows", "a setting", "an attack", "an optimiser", "a threat"],
)
def test_what_cannot_be_trained_is_one_sentence_with_the_place(change: tuple[str, str], words: list[str], folder: Path) -> None:
    assert change[0] in FILE
    (folder / "vauban.toml").write_text(FILE.replace(*change))
    with pytest.raises(VaubanError) as told:
        trained(
            hardening_of(read_file(folder / "vauban.toml"), folder / "vauban.toml"),
            folder / "w.safetensors",
            Output(quiet=True),
            fresh=False,
        )
    assert all(word in str(told.value) for word in words), told.value
    assert "vauban.toml" in str(told.value) or "smallest change" in str(told.value)


def test_seeds_are_compared_and_the_export_and_the_record_lie_beside_the_weights(folder: Path) -> None:
    done = vauban(folder, "harden", "--epochs", "2", "--seeds", "2", "--out", "kept/w.safetensors", "--export", "kept/m.onnx")
    assert done.returncode == 0, done.stderr
    assert "is kept, the best of 2 by PGD" in done.stdout
    assert "seed 1: epoch 2 of 2" in done.stderr
    told = json.loads((folder / "kept" / "w.safetensors.json").read_text())
    assert (told["kind"], told["method"]["name"], told["threat"]["eps"], told["seeds"]) == ("vauban training", "adversarial", 0.1, 2)
    assert [run["seed"] for run in told["runs"]] == [0, 1]
    assert told["cost"] == pytest.approx(sum(run["cost"] for run in told["runs"]))
    for name, file in (("weights", "w.safetensors"), ("onnx", "m.onnx")):
        assert told[name] == {"file": file, "sha256": hashlib.sha256((folder / "kept" / file).read_bytes()).hexdigest()}
    assert told["recipe"]["epochs"] == 2
    assert told["kept"]["pgd"] == max(run["pgd"] for run in told["runs"])
    assert {"vauban", "torch"} <= set(told["versions"])
    again = vauban(folder, "harden", "--epochs", "2", "--seeds", "2", "--out", "kept/w.safetensors")
    assert "finished before" in again.stdout


def test_the_exported_model_is_the_hardened_one(folder: Path) -> None:
    assert vauban(folder, "harden", "--epochs", "4", "--export", "m.onnx").returncode == 0
    space: dict[str, Any] = {}
    exec(MODEL, space)
    model = space["build"]()
    model.load_state_dict(load_file(folder / "hardened.safetensors"))
    x = torch.from_numpy(space["held_out"]()["x"])
    assert torch.allclose(Onnx(folder / "m.onnx", outputs="logits").scores(x), Torch(model, outputs="logits").scores(x), atol=1e-4)
    assert not torch.allclose(Torch(space["build"](), outputs="logits").scores(x), Torch(model, outputs="logits").scores(x), atol=1e-2)


def test_what_cannot_be_exported_is_told_before_anything_is_trained(folder: Path) -> None:
    file = folder / "model.py"
    branching = "class Way(nn.Sequential):\n    def forward(self, x):\n        return super().forward(x) * (1 if float(x.sum()) > 1e9 else len(x))\n"
    file.write_text(MODEL.replace("def build():", f"{branching}\n\ndef build():").replace("return nn.Sequential(", "return Way("))
    told = vauban(folder, "harden", "--export", "m.onnx")
    assert told.returncode == 2
    assert "ONNX file answers differently" in told.stderr
    assert "nothing was written" in told.stderr
    assert not (folder / "m.onnx").exists()
    assert not (folder / "hardened.training").exists()


def test_a_setting_that_names_code_is_sought_beside_the_campaign_file(folder: Path) -> None:
    method = 'method = { name = "ensemble-adversarial", sources = ["model.py:build"] }\n'
    (folder / "vauban.toml").write_text(FILE.replace("epochs = 10", f"{method}epochs = 2"))
    done = subprocess.run(
        [sys.executable, "-m", "vauban.cli", "harden", str(folder / "vauban.toml")], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "vauban.toml").write_text(FILE.replace("epochs = 10", f"{method}epochs = 2").replace('model.py:build"]', 'model.py:rows"]'))
    wrong = vauban(folder, "harden", "--fresh")
    assert wrong.returncode == 2
    assert "model.py" in wrong.stderr


def test_a_target_without_parameters_is_refused_with_exit_code_2(folder: Path) -> None:
    (folder / "vauban.toml").write_text(FILE.replace("model.py:build", "scores.py:answer"))
    (folder / "scores.py").write_text("def answer(x):\n    return x.reshape(len(x), -1)[:, :3]\n")
    told = vauban(folder, "harden")
    assert told.returncode == 2 and not told.stdout and told.stderr.count("\n") == 1
    assert "vauban.toml:3" in told.stderr and "needs a torch module" in told.stderr
