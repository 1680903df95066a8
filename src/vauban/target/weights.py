"""Weights of a PyTorch module from a file that cannot run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vauban.errors import BadTarget

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save the state dict among other things."""


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file or a saved state dict into the module, all of them and nothing else.

    Raises:
        BadTarget: the file is missing or unreadable, or its names or shapes are not the module's.
    """
    weights = _read(path)
    own = model.state_dict()
    if weights and all(k.startswith("module.") for k in weights) and not any(k.startswith("module.") for k in own):
        weights = {k.removeprefix("module."): v for k, v in weights.items()}  # saved from DataParallel
    problems = [
        _few("missing", [k for k in own if k not in weights]),
        _few("unexpected", [k for k in weights if k not in own]),
        _few(
            "of another shape",
            [f"{k} {tuple(v.shape)} instead of {tuple(own[k].shape)}" for k, v in weights.items() if k in own and v.shape != own[k].shape],
        ),
    ]
    if any(problems):
        raise BadTarget(f"{path.name} does not fit {type(model).__name__}: {'; '.join(p for p in problems if p)}")
    model.load_state_dict(weights)


def _few(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {', '.join(names[:3])}{more}" if names else ""


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BadTarget(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadTarget(f"{path.name} is damaged, or holds more than weights; save model.state_dict(), or safetensors") from error
    except Exception as error:  # truncated and foreign files raise whatever the reader stumbles on
        raise BadTarget(f"{path.name} cannot be read as weights, is it damaged? ({type(error).__name__})") from error
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(cast("dict[str, Any]", found).get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in cast("dict[str, Any]", found).values()):
        raise BadTarget(f"{path.name} holds no state dict (a mapping from names to tensors); save model.state_dict(), or safetensors")
    return cast("dict[str, Tensor]", found)
