"""A person's own step, and the network that imitates one: where the identity fails, it does not."""

from __future__ import annotations

import pytest
import torch
from broken_defences import digits, held_out, torch_target, undefended
from torch import Tensor

from vauban.attacks import pgd
from vauban.defences import imitated_step, own_step
from vauban.defences.input.stand_in import trained_stand_in
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan, BadTarget
from vauban.target import Preprocessed, StraightThrough
from vauban.threat import Ball, Threat

X, Y = (t[:600] for t in digits())
STEPS = """
import numpy as np
import torch

def inverted(x):
    return 1 - np.round(x * 16) / 16

def rounded(x):
    return np.round(x * 16) / 16

def soft_inverted(x):
    return 1 - x

def torch_inverted(x):
    return 1 - x

def half(x):
    return x[: len(x) // 2]

def nothing(x):
    return x * np.nan

def broken(x):
    return x["a"]

def hashed(x):
    return np.sin(1e6 * x)

number = 3
"""


@pytest.fixture
def file(tmp_path) -> str:
    path = tmp_path / "steps.py"
    path.write_text(STEPS)
    return str(path)


def turned(x: Tensor) -> Tensor:
    """Another order of the pixels, each rounded: what the identity knows nothing of."""
    return (x.flip(2, 3) * 8).round().div(8)


def stands(target, eps: float = 0.2) -> int:
    x, y = held_out()
    o = Oracle(target, turned(x), y, Threat("insider", Ball(eps)))
    pgd(steps=20, loss="margin")(o)
    return int((~o.outcome.broken).sum())


def test_a_trained_stand_in_breaks_what_the_identity_leaves() -> None:
    base = torch_target(undefended())
    net = trained_stand_in(turned, X, reach=0.2, epochs=20)
    imitated, straight = stands(Preprocessed(turned, base, backward=net)), stands(Preprocessed(turned, base))
    known = stands(Preprocessed(turned, base, backward=lambda x: x.flip(2, 3)))
    assert straight > 2 * known + 10, "a world in which the identity fails"
    assert imitated <= known + 5


def test_the_stand_in_has_the_steps_slope() -> None:
    net = trained_stand_in(lambda x: 1 - (x * 16).round() / 16, X, epochs=15)
    leaf = X[:20].clone().requires_grad_()
    net(leaf).sum().backward()
    assert leaf.grad is not None
    assert float(leaf.grad[:, :, 2:6, 2:6].mean()) == pytest.approx(-1, abs=0.3)


def test_a_step_to_another_shape_can_be_imitated() -> None:
    mix = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)) / 8
    net = trained_stand_in(lambda x: x.flatten(1) @ mix, X, epochs=20)
    assert float((net(X[:50]) - X[:50].flatten(1) @ mix).abs().mean()) < 0.05


def test_what_cannot_be_imitated_is_said(file: str) -> None:
    base = torch_target(undefended())
    with pytest.raises(BadTarget, match="explains"):
        imitated_step(load=f"{file}:hashed", epochs=2).around(base, (X, Y))
    with pytest.raises(BadData, match="cannot be fitted on 30 clean rows"):
        trained_stand_in(turned, X[:30])


def test_the_same_seed_trains_the_same_stand_in(file: str) -> None:
    base = torch_target(undefended())
    made = [imitated_step(load=f"{file}:rounded", epochs=2, seed=s).around(base, (X, Y)).sha256() for s in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_your_own_step_with_each_gradient(file: str) -> None:
    base = torch_target(undefended())
    x = X[:10]
    identity = own_step(load=f"{file}:inverted").around(base)
    assert isinstance(identity.surrogate, StraightThrough)
    assert torch.allclose(identity.scores(x), base.scores(1 - (x * 16).round() / 16), atol=1e-5)
    slopes = []
    for made in (
        identity,
        own_step(load=f"{file}:inverted", gradient=f"{file}:soft_inverted").around(base),
        own_step(load=f"{file}:torch_inverted", gradient="own", as_numpy=False).around(base),
    ):
        leaf = x.clone().requires_grad_()
        (made.surrogate or made).smooth(leaf)[:, 0].sum().backward()
        slopes.append(leaf.grad)
    assert torch.allclose(slopes[0], -slopes[1], atol=1e-5)
    assert torch.allclose(slopes[1], slopes[2], atol=1e-5)


def test_a_step_that_is_changed_is_another_step(tmp_path) -> None:
    base, path = torch_target(undefended()), tmp_path / "mine.py"
    path.write_text("def f(x):\n    return x * 0.5\n")
    first = own_step(load=f"{path}:f").around(base).sha256()
    assert own_step(load=f"{path}:f").around(base).sha256() == first
    path.write_text("def f(x):\n    return x * 0.25\n")
    assert own_step(load=f"{path}:f").around(base).sha256() != first


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("half", "one output for each input"),
        ("nothing", "not finite"),
        ("broken", "IndexError|TypeError"),
        ("number", "name a function"),
        ("missing", "has no 'missing'"),
    ],
)
def test_a_bad_step_is_told_in_one_sentence(file: str, name: str, why: str) -> None:
    with pytest.raises(BadTarget, match=why):
        own_step(load=f"{file}:{name}").around(torch_target(undefended())).scores(X[:4])


def test_gradients_that_cannot_be_are_refused(file: str) -> None:
    base = torch_target(undefended())
    with pytest.raises(BadPlan, match="no gradient of its own"):
        own_step(load=f"{file}:inverted", gradient="own").around(base)
    with pytest.raises(BadPlan, match="differentiable function"):
        own_step(load=f"{file}:inverted", gradient="straight").around(base)
