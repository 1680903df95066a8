"""Defences: what makes a model withstand more, and what each of them owes.

A defence that stands in front of a model is a function from a target to a target around it (`vauban.target.Target`): it answers like any
model, states the threat it claims to stop, and carries the surrogate that its own attacker would take gradients from and the attacks that an
evaluation must contain, so that no audit can forget the adaptive attack. What it claims is then measured like any other target, on rows it
has never seen. One file each, found by walking the folders; the decorator registers. `from vauban.defences import jpeg` gives the defence.

A defence that changes the weights (`training`) gives an ordinary model; its attacker is the ordinary one, and it owes the cost of training
and the accuracy on clean inputs that it gave up.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from vauban.defences.registry import DEFENCES, Clean, Defence, Design, Facts, defence, find

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["DEFENCES", "Clean", "Defence", "Design", "Facts", "defence", "find"]


def __getattr__(name: str) -> Design[...]:
    """Every defence by its name with underscores: `vauban.defences.bit_depth`."""
    dashed = name.replace("_", "-")
    if dashed in DEFENCES:
        return DEFENCES[dashed]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name.replace("-", "_") for name in DEFENCES)])
