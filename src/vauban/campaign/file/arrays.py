"""What a campaign file may keep in .npy files beside it: a mask of features, and a wanted class for each row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np

from vauban.campaign.file.classes import class_index
from vauban.data import Rows
from vauban.errors import BadPlan


def wanted_of_rows(file: str, data: Rows, count: int | None, base: Path) -> tuple[int, ...]:
    """One wanted class for each row of the source."""
    array = _array(file, "wanted", base)
    last = int(data.ids.max())
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) <= last:
        raise BadPlan(
            f"wanted: {file} holds {array.dtype} of shape {array.shape}; it must be whole numbers, one for each row of the source "
            f"(at least {last + 1})"
        )
    wanted = tuple(int(c) for c in array)
    for c in set(wanted):
        class_index(c, data.classes, f"wanted: {file}: class", count)
    return wanted


def mask_of(said: str | list[bool] | None, shape: tuple[int, ...], base: Path) -> tuple[bool, ...] | None:
    """One truth value for each feature, in C order; an array is spread over channels where it fits."""
    if said is None:
        return None
    flags = _array(said, "mask", base) if isinstance(said, str) else np.array(said)
    if flags.dtype.kind not in "biu":
        raise BadPlan(f"mask: {said} holds {flags.dtype}; it must be true and false, or 1 and 0")
    size = math.prod(shape)
    if flags.size != size:
        try:
            flags = np.broadcast_to(flags, shape)
        except ValueError as error:
            raise BadPlan(
                f"mask has {flags.size} values of shape {flags.shape} for {size} features of shape {shape}; give one for each"
            ) from error
    return tuple(bool(v) for v in flags.ravel())


def _array(file: str, what: str, base: Path) -> np.ndarray[Any, Any]:
    try:
        loaded = cast("object", np.load(base / file, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise BadPlan(f"{what}: {file} cannot be read as .npy: {error}") from error
    if not isinstance(loaded, np.ndarray):
        raise BadPlan(f"{what}: {file} holds several arrays; save one with np.save")
    return loaded
