"""The ground that every side fights on: a reference model as a user would bring it, and the first rows it classifies correctly."""

from __future__ import annotations

import copy
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

CLASSES = 10


@dataclass(frozen=True, eq=False)
class World:
    """A model and rows that it classifies correctly.

    Attributes:
        name: which reference model, such as "mnist-at".
        model: in evaluation mode, parameters wanting gradients, as it comes out of training; every side gets this same object.
        bare: a copy with frozen parameters in the ordinary layout, for the yardstick and the referee.
        x: float32 (n, channels, height, width) in [0, 1].
        y: int64 (n,), the right classes.
        eps: the usual L-infinity radius of the model.
    """

    name: str
    model: nn.Module
    bare: nn.Module
    x: Tensor
    y: Tensor
    eps: float

    def __len__(self) -> int:
        return len(self.x)

    def first(self, n: int) -> World:
        """The same with its first n rows."""
        return World(self.name, self.model, self.bare, self.x[:n], self.y[:n], self.eps)


@cache
def reference(data: Path) -> ModuleType:
    """The module `reference.py` of the data folder, with `load(name)`, `data(name, split, n)` and `MODELS`."""
    file = data / "reference.py"
    if not file.is_file():
        raise SystemExit(f"benchmarks: {file} does not exist; give --data the folder that holds reference.py, the models and the data")
    spec = importlib.util.spec_from_file_location("reference", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


def world(data: Path, name: str, n: int) -> World:
    """The reference model `name` and the first n test rows that it classifies correctly."""
    source = reference(data)
    bare = source.load(name)
    x, y = source.data(name, "test", min(4000, 3 * n + 200))
    with torch.no_grad():
        right = torch.cat([bare(part) for part in x.split(200)]).argmax(1) == y
    if int(right.sum()) < n:
        raise SystemExit(f"benchmarks: {name} classifies only {int(right.sum())} of {len(x)} rows correctly; ask for fewer than {n}")
    model = copy.deepcopy(bare).requires_grad_(True)
    return World(name, model, bare, x[right][:n].contiguous(), y[right][:n].contiguous(), float(source.MODELS[name][2]))
