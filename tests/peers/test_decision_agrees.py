"""HopSkipJump and the Boundary attack come at least as near as Foolbox's and ART's, with as many questions on the same rows.

Each peer runs first, and ours gets the mean number of questions that it asked of a row, starts included. Random walks and random probes differ,
so medians over the rows are held to 1.05 times the peer's.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Access, Ball, Threat

foolbox = pytest.importorskip("foolbox", reason="the bench environment has it: benchmarks/environment.sh builds .venv-bench")
evasion = pytest.importorskip("art.attacks.evasion", reason="the bench environment has it: benchmarks/environment.sh builds .venv-bench")
pytestmark = pytest.mark.slow
ROWS = 32


class Counted(nn.Module):
    """The model, with its rows counted; ART hands it float64."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.rows = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return self.inner(x.float())


def ours(digits: Any, name: str, norm: float, queries: int) -> float:
    """The median distance, on labels alone."""
    threat = Threat("peers", Ball(math.inf, norm), access=Access.LABEL, queries=queries)
    oracle = Oracle(Torch(digits.model), digits.x, digits.y, threat, settle="nearest")
    ATTACKS[name].bind()(oracle)
    assert int(oracle.outcome.queries.max()) <= queries
    return digits.median(oracle.outcome.best, norm)


def of_foolbox(digits: Any, attack: Any) -> tuple[Tensor, int]:
    """What it finds, and the questions it asked of a row."""
    model = Counted(digits.model)
    torch.manual_seed(0)
    found = attack(foolbox.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu"), digits.x, digits.y, epsilons=None)[1]
    return found, model.rows // len(digits.x)


def of_art(digits: Any, make: Any) -> tuple[Tensor, int]:
    import numpy as np
    from art.estimators.classification import PyTorchClassifier

    model = Counted(digits.model)
    np.random.seed(0)  # noqa: NPY002 (what ART draws from)
    wrapped = PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0.0, 1.0), device_type="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = make(wrapped).generate(digits.x.numpy(), digits.y.numpy())
    return torch.from_numpy(found).float(), model.rows // len(digits.x)


@pytest.mark.parametrize("norm", [2.0, math.inf])
@pytest.mark.parametrize("steps", [4, 12])
def test_hop_skip_jump_comes_at_least_as_near_as_foolbox(digits: Any, norm: float, steps: int) -> None:
    some = digits.first(ROWS)
    constraint = "l2" if norm == 2 else "linf"
    found, queries = of_foolbox(some, foolbox.attacks.HopSkipJumpAttack(steps=steps, constraint=constraint))
    assert ours(some, "hop-skip-jump", norm, queries) <= 1.05 * some.median(found, norm)


@pytest.mark.parametrize("norm", [2.0, math.inf])
@pytest.mark.parametrize("steps", [4, 12])
def test_hop_skip_jump_comes_at_least_as_near_as_art(digits: Any, norm: float, steps: int) -> None:
    some = digits.first(ROWS)
    settings = {"targeted": False, "norm": 2 if norm == 2 else "inf", "max_iter": steps, "init_eval": 100, "verbose": False}
    found, queries = of_art(some, lambda model: evasion.HopSkipJump(model, **settings))
    assert ours(some, "hop-skip-jump", norm, queries) <= 1.05 * some.median(found, norm)


def test_boundary_comes_at_least_as_near_as_foolbox(digits: Any) -> None:
    some = digits.first(ROWS)
    found, queries = of_foolbox(some, foolbox.attacks.BoundaryAttack(steps=2000))
    assert ours(some, "boundary", 2.0, queries) <= 1.05 * some.median(found, 2.0)
