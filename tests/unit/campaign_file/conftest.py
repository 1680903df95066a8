"""A campaign that can be loaded: a linear model of two classes and 40 rows of six features."""

from pathlib import Path

import numpy as np
import pytest

GOOD = """title = "Liveness, release 12"
seed = 3

[target]
load = "m.py:build"

[data]
load = "d.npz"
bounds = [0, 1]
classes = ["spoof", "live"]

[[surrogate]]
name = "twin"
load = "m.py:build"

[[threat]]
name = "insider"
eps = "8/255"
[[threat.attack]]
name = "pgd"
steps = 5

[[threat]]
name = "fraudster"
norm = "l2"
eps = 0.5
goal = { wanted = "live", from = ["spoof"] }
queries = 100
suite = "quick"

[promise]
"insider" = { robust_accuracy = 0.45, clean_accuracy = 0.9 }

[run]
chunk = 20
inputs = false
"""

CODE = """
import torch
from vauban.attacks import attack, pgd
from vauban.target import StraightThrough, Torch
from vauban.threat import Access


def build():
    model = torch.nn.Linear(6, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0] * 6, [-1.0] * 6]))
    return model


rounded = StraightThrough(torch.round, Torch(build()))
chosen = pgd(steps=2)


def scores(x):
    return x[:, :2]


@attack(Access.SCORE, on=("linf",), paper="none")
def mine(o, tries: int = 3) -> None:
    \"\"\"Tries nothing much.\"\"\"
    for _ in o.steps(tries):
        o.fooled(o.x)


def plain(o):
    pass
"""


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """The path of a campaign file with everything it names beside it."""
    random = np.random.default_rng(0)
    x = random.random((40, 6), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=(x.sum(1) < 3).astype(np.int64), site=np.array(["a", "b"] * 20))
    (tmp_path / "m.py").write_text(CODE)
    (tmp_path / "vauban.toml").write_text(GOOD)
    return tmp_path / "vauban.toml"
