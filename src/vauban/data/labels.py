"""Labels as people write them, turned into class indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vauban.data.raw import Array
from vauban.errors import BadData, nearest

MANY = 100_000
"""More classes than any classifier has: labels beyond are ids or amounts."""


def indexed(y: Array, classes: Sequence[object] | None, who: str, ids: Array, *, ready: bool = False) -> tuple[Tensor, tuple[str, ...]]:
    """Class indices, int64 (n,), and the class names.

    Text is looked up among `classes`, or its sorted values are the classes. Whole numbers are looked up too where they are all written
    among `classes` (so that ("3", "5", "8") names digits); otherwise, or if they are `ready`, they are indices.

    Raises:
        BadData: labels that are neither, negative, not whole, unknown, or out of range.
    """
    names = None if classes is None else _distinct(tuple(str(c) for c in classes), who)
    flat = _flat(y, who)
    if flat.dtype.kind in "USO":
        text = [str(v) for v in flat.tolist()]
        names = tuple(sorted(set(text))) if names is None else names
        return _looked_up(text, names, who, ids), names
    numbers = _whole(flat, who, ids)
    if not ready and names is not None and set(map(str, np.unique(numbers).tolist())) <= set(names):
        return _looked_up([str(v) for v in numbers.tolist()], names, who, ids), names
    return _as_indices(numbers, names, who, ids)


def _distinct(names: tuple[str, ...], who: str) -> tuple[str, ...]:
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise BadData(f"{who}: class {twice!r} is named twice")
    return names


def _flat(y: Array, who: str) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    if y.ndim != 1:
        hint = "; for one-hot labels give y.argmax(1)" if y.ndim == 2 else ""
        raise BadData(
            f"{who}: the labels have shape {y.shape}; one class for each row is needed, shape ({len(y) if y.ndim else 'n'},){hint}"
        )
    return y


def _whole(y: Array, who: str, ids: Array) -> Array:
    if y.dtype.kind not in "biuf":
        raise BadData(f"{who}: labels of type {y.dtype}; give whole numbers or names")
    odd = np.flatnonzero(~np.isfinite(y) | (y != np.floor(y))) if y.dtype.kind == "f" else []
    if len(odd):
        raise BadData(f"{who}: row {ids[odd[0]]} has label {y[odd[0]]:g}, which is not a whole number; Vauban attacks classifiers")
    return y.astype(np.int64)


def _looked_up(text: list[str], names: tuple[str, ...], who: str, ids: Array) -> Tensor:
    place = {name: i for i, name in enumerate(names)}
    for row, word in zip(ids.tolist(), text, strict=False):
        if word not in place:
            raise BadData(f"{who}: row {row} has label {word!r}, which is not among the classes; {nearest(word, names)}")
    return torch.tensor([place[word] for word in text], dtype=torch.int64)


def _as_indices(numbers: Array, names: tuple[str, ...] | None, who: str, ids: Array) -> tuple[Tensor, tuple[str, ...]]:
    most = MANY if names is None else len(names)
    bad = np.flatnonzero((numbers < 0) | (numbers >= most))
    if len(bad):
        label = numbers[bad[0]]
        why = (
            "classes count from 0"
            if label < 0
            else f"there are {most} classes, 0 to {most - 1}"
            if names
            else "is that an id, or an amount?"
        )
        raise BadData(f"{who}: row {ids[bad[0]]} has label {label}; {why}")
    count = int(numbers.max()) + 1 if len(numbers) else 0
    return torch.from_numpy(numbers), names or tuple(str(i) for i in range(count))
