"""Rounding in front of a model looks like a defence, because it has no gradient. It is none: the attacker looks through it (BPDA).

    python examples/bpda.py

Athalye, Carlini and Wagner 2018 (arXiv:1802.00420) broke seven of nine published defences this way. `vauban.Preprocessed` carries the
straight-through surrogate, so that every audit of such a target looks through the step without being asked to.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

import vauban
from vauban import Ball, Preprocessed, Threat, Torch


def digits() -> ModuleType:
    """The network and the pictures of examples/digits."""
    spec = importlib.util.spec_from_file_location("digits_model", Path(__file__).parent / "digits" / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def to_five_levels(x: Tensor) -> Tensor:
    """The defence: every pixel is rounded to a quarter."""
    return (x * 4).round() / 4


def main() -> None:
    """Audit the rounded model twice: by its own useless gradient, and straight through the rounding."""
    torch.set_num_threads(1)  # so small a network is slower on several
    model, rows = digits().train(), digits().held_out()
    threat = Threat("insider", Ball("3/16"))
    guarded = Preprocessed(to_five_levels, Torch(model))
    naive = Preprocessed(to_five_levels, Torch(model), differentiable=True)  # as if its gradient, zero nearly everywhere, were a useful one
    for name, target in (("by its own gradient", naive), ("straight through (BPDA)", guarded)):
        finding = vauban.audit(target, rows["x"], rows["y"], threat, attacks=["pgd"])["insider"]
        print(f"{name:24} robust accuracy {finding.robust.text()}")
        for doubt in finding.doubts:
            print(f"{'':24} doubted: {doubt.text}")


if __name__ == "__main__":
    main()
