"""The laws of a checkpoint: a killed training ends at the same bits, a finished one does nothing, and another's is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_training import EPS, net, plainly_trained, recipe, stripes
from torch import Tensor, nn

from vauban.attacks import Attack, pgd
from vauban.defences.training import Hardened, Recipe, Tick, harden
from vauban.errors import BadRun
from vauban.threat import Ball, Threat

RECIPES = {
    "adam, mean weights": recipe(epochs=3, ema=0.9),
    "sgd, last": recipe(epochs=3, optimiser="sgd", lr=0.02, keep="last"),
    "adamw, bfloat16": recipe(epochs=3, optimiser="adamw", precision="bfloat16", keep="last"),
}


def start() -> nn.Module:
    return plainly_trained(dropout=0.2)


def train(
    folder: Path | None, how: Recipe, stop_at: tuple[int, int] | None = None, model: nn.Module | None = None
) -> tuple[Hardened, nn.Module]:
    """Train, or be interrupted after a step of an epoch."""

    def tell(tick: Tick) -> None:
        if tick.measured is None and (tick.epoch, tick.step) == stop_at:
            raise KeyboardInterrupt

    model = start() if model is None else model
    return harden(model, stripes(), Threat("t", Ball(EPS)), pgd(steps=2, step=0.7), how, checkpoint=folder, progress=tell), model


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("how", RECIPES.values(), ids=RECIPES)
def test_an_interrupted_training_ends_at_the_same_bits(how: Recipe, tmp_path: Path) -> None:
    straight, model = train(None, how)
    for stop in ((1, 2), (2, 1), (3, 4)):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "c", how, stop)
    resumed, again = train(tmp_path / "c", how)
    assert resumed.resumed == 2 and resumed.best == straight.best
    assert [(e.clean, e.pgd, e.loss) for e in resumed.history] == [(e.clean, e.pgd, e.loss) for e in straight.history]
    assert same(state(model), state(again)) and not same(state(model), state(start()))
    assert resumed.path is not None and same(load_file(resumed.path), state(again))


def test_kill_9_between_and_within_epochs_changes_nothing(tmp_path: Path) -> None:
    here = Path(__file__)
    child = (
        "import os, signal, sys, importlib.util\n"
        f"sys.path.insert(0, {str(here.parents[2] / 'support')!r})\n"
        f"spec = importlib.util.spec_from_file_location('resuming', {str(here)!r})\n"
        "r = importlib.util.module_from_spec(spec); sys.modules['resuming'] = r; spec.loader.exec_module(r)\n"
        "def tell(tick):\n"
        "    if tick.epoch == 2 and tick.step == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "how = r.RECIPES['adam, mean weights']\n"
        f"r.harden(r.start(), r.stripes(), r.Threat('t', r.Ball(r.EPS)), r.pgd(steps=2, step=0.7), how, checkpoint={str(tmp_path / 'c')!r}, progress=tell)\n"
    )
    died = subprocess.run([sys.executable, "-c", child], check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    resumed, model = train(tmp_path / "c", RECIPES["adam, mean weights"])
    assert resumed.resumed == 1
    assert same(state(model), state(train(None, RECIPES["adam, mean weights"])[1]))


def test_a_finished_training_does_nothing_more_and_gives_the_same(tmp_path: Path) -> None:
    how = RECIPES["adam, mean weights"]
    first, model = train(tmp_path, how)
    stamp = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    again, other = train(tmp_path, how, stop_at=(1, 1))
    assert again.history == first.history and again.resumed == len(first.history) - 1
    assert same(state(model), state(other))
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamp
    assert train(tmp_path, how, stop_at=(1, 1), model=model)[0] == again, "the hardened model itself is known too"


def test_a_training_of_other_settings_or_another_model_is_refused_and_fresh_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe(epochs=3), (2, 1))
    with pytest.raises(BadRun, match=r"other settings.*--fresh"):
        train(tmp_path, recipe(epochs=4))
    with pytest.raises(BadRun, match=r"another model.*--fresh"):
        train(tmp_path, recipe(epochs=3), model=net())
    (tmp_path / "notes.txt").write_text("mine")
    result = harden(start(), stripes(), Threat("t", Ball(EPS)), pgd(steps=2), recipe(epochs=1), checkpoint=tmp_path, fresh=True)
    assert result.resumed == 0 and (tmp_path / "notes.txt").read_text() == "mine"


def test_half_written_and_stale_files_are_not_believed(tmp_path: Path) -> None:
    how = recipe(epochs=3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, how, (3, 1))
    for name in ("epoch-0003.safetensors", "best-0003.safetensors", ".epoch-0003.safetensors.part"):
        (tmp_path / name).write_bytes(b"half of some")
    _, model = train(tmp_path, how)
    assert same(state(model), state(train(None, how)[1]))


@pytest.mark.parametrize("damage", ["{", '{"format": 99}', '{"format": 1}', "[]"])
def test_a_damaged_checkpoint_is_one_sentence(damage: str, tmp_path: Path, inner: Attack) -> None:
    (tmp_path / "progress.json").write_text(damage)
    with pytest.raises(BadRun, match="--fresh"):
        train(tmp_path, recipe(epochs=1))


def test_a_checkpoint_that_lost_its_weights_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe(epochs=3), (2, 1))
    (tmp_path / "epoch-0001.safetensors").unlink()
    with pytest.raises(BadRun, match="missing or damaged"):
        train(tmp_path, recipe(epochs=3))


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRun, match="cannot be written"):
        train(tmp_path / "file", recipe(epochs=1))


def test_the_checkpoint_holds_no_pickle_and_readable_numbers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe(epochs=3), (3, 1))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert all(n.endswith((".safetensors", ".json")) for n in names) and len(names) == 3
    told = json.loads((tmp_path / "progress.json").read_text())
    assert [e["number"] for e in told["history"]] == [0, 1, 2]
