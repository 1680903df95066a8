"""What a step is made of decides the fingerprint of what stands behind it; where a file lies or an object lives does not."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from vauban.defences import bit_depth
from vauban.target import Preprocessed, Torch
from vauban.target.steps import told


class Fitted:
    def __init__(self, **given: object) -> None:
        vars(self).update(given)


def scaled(x, by=2):
    return x * by


def test_settings_and_fitted_tensors_are_told_apart() -> None:
    steps = [
        Fitted(),
        Fitted(a=1),
        Fitted(a=2),
        Fitted(a=torch.zeros(3)),
        Fitted(a=torch.ones(3)),
        Fitted(a=torch.ones(3, dtype=torch.float64)),
        Fitted(a=[1, (2, None)]),
        Fitted(a=scaled),
        Fitted(a=partial(scaled, by=3)),
        Fitted(a=partial(scaled, by=4)),
        Fitted(a={"b": torch.ones(1)}),
        scaled,
        partial(scaled),
        nn.Linear(2, 2),
        nn.Linear(2, 2),
    ]
    assert len({told(step) for step in steps}) == len(steps)


def test_equal_steps_are_told_alike() -> None:
    assert told(Fitted(a=torch.ones(3), b=0.5)) == told(Fitted(b=0.5, a=torch.ones(3)))
    assert "0x" not in told(Fitted(a=Fitted(), b=object()))


def test_another_setting_and_another_stand_in_are_another_target() -> None:
    base = Torch(nn.Linear(4, 3), outputs="logits")
    assert bit_depth(bits=3).around(base).sha256() != bit_depth(bits=4).around(base).sha256()
    assert bit_depth(bits=3).around(base).sha256() == bit_depth(bits=3).around(base).sha256()
    assert Preprocessed(scaled, base).sha256() != Preprocessed(scaled, base, soft=torch.sin).sha256()


def test_a_step_before_a_model_of_many_passes_costs_as_many() -> None:
    many = Torch(nn.Linear(4, 3), outputs="logits")
    many.passes = 7
    assert Preprocessed(scaled, many).passes == 7
