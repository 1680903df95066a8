"""Attacks: one file each, found by walking the folders; the decorator registers. `from vauban.attacks import pgd` gives the attack.

To add one, write the file; nothing else changes. Other packages add theirs with an entry point of the group "vauban", and a campaign
file with a path ("./mine.py:mine").
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import walk_packages
from typing import Any

from vauban.attacks.registry import ATTACKS, Attack, Facts, Recipe, attack, find, preset

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)
for _entry in entry_points(group="vauban"):
    _entry.load()

__all__ = ["ATTACKS", "Attack", "Facts", "Recipe", "attack", "find", "preset"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Recipe[Any]:
    """Every attack by its name with underscores: `vauban.attacks.r_fgsm`."""
    dashed = name.replace("_", "-")
    if dashed in ATTACKS:
        return ATTACKS[dashed]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name.replace("-", "_") for name in ATTACKS)])
