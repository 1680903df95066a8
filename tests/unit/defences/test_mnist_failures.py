"""Trainings known to go wrong on MNIST: the gates must say so. Slow, and only where the data is: VAUBAN_DATA names the folder of mnist.npz."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import pgd
from vauban.defences.training import METHODS, Recipe, TrainingStopped, harden
from vauban.threat import Ball, Threat

FOLDER = Path(os.environ.get("VAUBAN_DATA", ""))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / "mnist.npz").is_file(), reason="VAUBAN_DATA names no folder with mnist.npz"),
]
THREAT = Threat("white box", Ball(0.3))


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Rows to train on, and held-out rows of the training set."""
    with np.load(FOLDER / "mnist.npz") as file:
        x = torch.from_numpy(file["x_train"]).float().div(255)[:, None]
        y = torch.from_numpy(file["y_train"].astype("int64"))
    return (x[:-5000], y[:-5000]), (x[-5000:], y[-5000:])


def net() -> nn.Module:
    """Two convolutions and two layers, 166,406 parameters (Wong et al. 2020)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10)
    )  # fmt: skip


def test_strong_noise_and_one_step_at_a_large_radius_end_in_catastrophic_overfitting_and_it_is_told() -> None:
    rows, held = digits()
    recipe = Recipe(10, batch=100, lr=1e-3, weight_decay=0.0, ramp=0.0)
    result = harden(net(), rows, THREAT, recipe=recipe, method=METHODS["n-fgsm"], held_out=held)
    last = result.history[-1]
    assert "catastrophic overfitting" in result.stopped or "PGD accuracy fell" in result.stopped
    assert last.fgsm - last.pgd > 0.2
    assert result.after.pgd >= last.pgd


def test_seven_steps_without_a_ramp_end_as_a_constant_predictor_and_the_ramp_saves_them() -> None:
    rows, held = digits()
    few = tuple(part[:20_000] for part in rows)
    recipe = Recipe(3, batch=100, lr=1e-3, weight_decay=0.0, ramp=0.0)
    with pytest.raises(TrainingStopped, match=r"same class.*ramp"):
        harden(net(), few, THREAT, pgd(steps=7, step=0.36), recipe, held_out=held)  # type: ignore[arg-type]
    saved = harden(net(), few, THREAT, pgd(steps=7, step=0.36), Recipe(3, batch=100, lr=2e-3, weight_decay=0.0), held_out=held)  # type: ignore[arg-type]
    assert saved.after.clean > 0.9
    assert saved.after.pgd > 0.5
