"""Several seeds: the best is kept by held-out rows, what they disagree by is told, and a killed or finished set of trainings is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_training import EPS, plainly_trained, recipe, stripes
from torch import Tensor, nn

from vauban.attacks import pgd
from vauban.defences.training import Hardened, Tick, TrainingStopped, harden
from vauban.defences.training.result import Run
from vauban.defences.training.seeds import judged
from vauban.errors import BadPlan, BadRun
from vauban.threat import Ball, Threat


def train(
    folder: Path | None = None, seeds: int = 3, stop: tuple[int, int, int] | None = None, model: nn.Module | None = None, **more: object
) -> tuple[Hardened, nn.Module]:
    def tell(tick: Tick) -> None:
        if tick.measured is None and (tick.seed, tick.epoch, tick.step) == stop:
            raise KeyboardInterrupt

    model = plainly_trained(dropout=0.2) if model is None else model
    how = recipe(epochs=2, seed=5, **more)
    return harden(
        model, stripes(96), Threat("t", Ball(EPS)), pgd(steps=2, step=0.7), how, seeds=seeds, checkpoint=folder, progress=tell
    ), model


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_each_seed_begins_from_the_same_weights_and_the_best_is_kept() -> None:
    result, model = train()
    assert [run.seed for run in result.runs] == [5, 6, 7]
    assert len({run.pgd for run in result.runs} | {run.clean for run in result.runs}) > 2
    best = max(result.runs, key=lambda run: (run.pgd, run.clean))
    assert (result.after.pgd, result.after.clean) == (best.pgd, best.clean)
    assert result.cost == pytest.approx(sum(run.cost for run in result.runs))
    assert f"seed {best.seed} is kept, the best of 3" in result.notes[-1] or f"seed {best.seed} is kept" in result.notes[-2]
    alone, twin = train(seeds=1)
    assert not alone.runs
    assert (alone.after.pgd, alone.after.clean) == (result.runs[0].pgd, result.runs[0].clean)
    assert same(state(model), state(twin)) == (best.seed == 5)


def runs(*pgd_accuracy: float) -> list[Run]:
    return [Run(i, 0 if a < 0 else 4, 3, 0.9, max(a, 0.0), 8.0, "it came to nothing" if a < 0 else "") for i, a in enumerate(pgd_accuracy)]


@pytest.mark.parametrize(("accuracies", "words"), [
    ((0.50, 0.54), ""), ((0.50, 0.56), "from 50.0% to 56.0%"), ((0.6, -1.0, 0.6), "1 of them came to nothing"),
])  # fmt: skip
def test_seeds_further_apart_than_five_points_disagree(accuracies: tuple[float, ...], words: str) -> None:
    said = judged(runs(*accuracies))
    assert "being chosen there, it looks better there than it is" in said[0]
    assert len(said) == (2 if words else 1)
    assert words in said[-1]


def test_interrupted_seeds_go_on_and_finished_ones_are_not_trained_again(tmp_path: Path) -> None:
    straight, model = train()
    for stop in ((5, 2, 1), (6, 1, 2), (7, 2, 2)):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop=stop)
    resumed, again = train(tmp_path)
    assert [(r.seed, r.pgd, r.clean) for r in resumed.runs] == [(r.seed, r.pgd, r.clean) for r in straight.runs]
    assert same(state(model), state(again))
    assert not resumed.done_before
    stamp = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    done, other = train(tmp_path, stop=(5, 1, 1))
    assert done.done_before
    assert done.notes == resumed.notes
    assert done.runs == resumed.runs
    assert same(state(other), state(model))
    assert train(tmp_path, stop=(5, 1, 1), model=other)[0].done_before, "the hardened model itself is known too"
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == stamp
    assert done.path is not None
    assert done.path.is_file()


def test_more_seeds_take_in_those_that_are_done(tmp_path: Path) -> None:
    train(tmp_path, seeds=2)
    more, _ = train(tmp_path, seeds=3)
    assert more.resumed == 4
    assert len(more.runs) == 3


def test_other_settings_and_damage_are_one_sentence(tmp_path: Path) -> None:
    train(tmp_path, seeds=2)
    with pytest.raises(BadRun, match=r"other settings.*--fresh"):
        train(tmp_path, seeds=2, lr=0.02)
    (tmp_path / "seeds.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(BadRun, match=r"damaged.*--fresh"):
        train(tmp_path, seeds=2)
    with pytest.raises(BadPlan, match="seeds = 0"):
        train(seeds=0)


class Sulking(nn.Module):
    """A model that learns nothing from its first so many questions in training mode, and answers one class to all."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.inner, self.left = plainly_trained(), steps

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        return self.inner(x) * (0.0 if self.left > 0 else 1.0) + torch.tensor([2.0, 0.0, -2.0]) * float(self.left > 0)


def test_a_seed_that_comes_to_nothing_is_told_and_does_not_end_the_rest() -> None:
    result, _ = train(model=Sulking(8), seeds=2)  # the first seed sulks to its end
    assert "same class" in result.runs[0].stopped
    assert result.runs[0].epochs == 0
    assert result.runs[1].pgd > 0
    assert "seeds disagree" in result.notes[-1]


def test_seeds_that_all_come_to_nothing_raise_and_leave_the_model_as_it_came() -> None:
    model = Sulking(10_000)
    before = state(model)
    with pytest.raises(TrainingStopped, match="all 2 seeds came to nothing"):
        train(model=model, seeds=2)
    assert same(before, state(model))
