"""Rows as a source holds them, before they are checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Inputs(Protocol):
    """Inputs that are read when they are chosen, such as image files."""

    def __len__(self) -> int: ...

    def take(self, index: Array) -> Array:
        """The inputs at these places (m,), as one array."""
        ...


@dataclass(frozen=True)
class Ask:
    """What a person may say about where in the source things are: see `load_data`."""

    base: Path
    x: str = "x"
    y: str = "y"
    group: str | None = None
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True, eq=False)
class Raw:
    """What a reader found.

    Attributes:
        x: inputs (n, ...) as the source holds them.
        y: labels (n,): class indices or names.
        name: where they come from, in short; errors begin with it.
        ids: index of each row in the source; None for 0..n-1.
        classes: the class names that the source declares.
        groups, group_column: subgroup of each row, and what it is called.
        features: names of the features.
        lo, hi: the range that the source declares.
        layout: how images lie, where the source knows.
        ready: whether labels are indices already and classes without rows were found to be in order.
        table: whether the numbers are columns of unknown range, so that bounds must be said.
    """

    x: Array | Inputs
    y: Array
    name: str
    ids: Array | None = None
    classes: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    group_column: str = ""
    features: tuple[str, ...] = ()
    lo: float | Sequence[float] | None = None
    hi: float | Sequence[float] | None = None
    layout: str = "auto"
    ready: bool = False
    table: bool = False


def as_groups(values: Sequence[object] | Array) -> tuple[str, ...]:
    """Subgroups as text."""
    return tuple(str(v) for v in (values.tolist() if isinstance(values, np.ndarray) else values))
