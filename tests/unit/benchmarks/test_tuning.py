"""The tuning models: rows that training never saw, labels that stay with their rows, and a model that comes back as it was kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.tuning import train as tuning
from benchmarks.tuning.nets import dense
from torch import Tensor

from vauban.attacks import pgd
from vauban.defences.training import Recipe


def numbered(n: int, *shape: int, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Rows that hold their own number everywhere."""
    index = torch.arange(n)
    return index.float().view(-1, *[1] * len(shape)).expand(n, *shape), index % classes


@pytest.mark.parametrize("classes", [(), (3, 5, 8)])
def test_held_out_digits_were_not_trained_on(monkeypatch: pytest.MonkeyPatch, classes: tuple[int, ...]) -> None:
    monkeypatch.setattr(tuning, "_split", lambda _: numbered(60_000, 2, 2))
    (x, y), (held, held_y) = tuning.digits(16_000, 12_000, *classes)(Path())
    assert x.shape[1:] == (1, 2, 2)
    assert int(x.max()) < 50_000 <= int(held.min())
    assert int(x.min()) >= 16_000
    for rows, labels in ((x, y), (held, held_y)):
        own = rows[:, 0, 0, 0].long() % 10
        assert torch.equal(torch.tensor(classes)[labels] if classes else labels, own)


def test_mirrored_and_shifted_pictures_keep_their_labels() -> None:
    x, y = numbered(20, 3, 32, 32)
    x = x + torch.arange(32) / 100
    more, labels = tuning.thrice(x, y)
    assert more.shape == (60, 3, 32, 32)
    assert torch.equal(more[:, 1, 9, 9].long() % 10, labels)
    assert torch.equal(more[20:40].flip(3), x)
    assert torch.equal(more[40, 0, 5, 2:], x[0, 0, 5, :30])  # two to the right, and what was two lower is now two higher
    assert torch.equal(labels[40:50], y[::2])


def test_a_model_comes_back_with_rows_that_it_classifies_correctly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    x = torch.rand(400, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0.5).long()
    recipe = Recipe(6, batch=16, lr=0.01, seed=3)
    rows = (x[:300], y[:300]), (x[300:], y[300:])
    spec = tuning.Spec(lambda: dense(6, 16, 2), lambda _: rows, 0.05, pgd.bind(steps=2), recipe)
    monkeypatch.setitem(tuning.SPECS, "tiny", spec)
    said: list[str] = []
    told = tuning.train("tiny", Path(), tmp_path, said.append)
    model, held, labels, eps = tuning.load("tiny", tmp_path)
    assert len(said) == 7
    assert not model.training
    assert (len(held), eps) == (told["correct rows"], 0.05)
    assert torch.equal(model(held).argmax(1), labels)
    assert {float(row[1]) for row in held} <= {float(row[1]) for row in x[300:]}
    assert tuning.withstood("tiny", 50, tmp_path) <= 1


def test_a_model_that_is_not_there_is_named_with_the_way_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"benchmarks\.tuning\.train --data DIR --only mnist-a"):
        tuning.load("mnist-a", tmp_path)
    with pytest.raises(SystemExit, match="mnist-a, cifar-a"):
        tuning.load("mnist-z", tmp_path)
