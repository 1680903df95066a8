"""The campaign file, `vauban.toml`: what may stand in it, and the plan it comes to.

model = read_file(path)                 # checked, every error with its line; no torch
plan = plan_of(model, path)             # model and data loaded, every setting bound
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vauban.campaign.file.model import FileModel
    from vauban.campaign.file.plan import plan_of
    from vauban.campaign.file.read import read_file, read_text

__all__ = ["FileModel", "plan_of", "read_file", "read_text"]

_HOMES = {"FileModel": "model", "plan_of": "plan", "read_file": "read", "read_text": "read"}


def __getattr__(name: str) -> Any:
    """Imported when asked for: reading waivers needs the locator alone, and reading a file needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
