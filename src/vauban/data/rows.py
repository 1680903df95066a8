"""The rows an audit attacks, with their labels and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vauban.data.provenance import fingerprint

Bound = float | tuple[float, ...]
Kind = Literal["image", "vector", "series"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked inputs and labels. Made by `load_data`; what is made by hand goes through it too: `load_data(rows)`.

    Attributes:
        x: float32 (n, *shape), images (n, channels, height, width).
        y: int64 (n,), indices into `classes`.
        classes: the names of the classes.
        ids: int64 (n,), each row's index in its source, ascending: the same row has the same id in every run.
        name: where they come from, in short.
        lo, hi: the range of the inputs: numbers, or one for each feature in C order.
        kind: "image", "vector" or "series".
        groups: the subgroup of each row, from `group_column`; None where the data have none.
        features: the names of the features, where the source has them.
        notes: what a reader of the result must know about the selection.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    ids: Tensor
    name: str = "data"
    lo: Bound = 0.0
    hi: Bound = 1.0
    kind: Kind = "vector"
    groups: tuple[str, ...] | None = None
    group_column: str = ""
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.x.shape[1:])

    @property
    def sha256(self) -> str:
        """Of the inputs, labels, ids and groups."""
        return fingerprint(self.x, self.y, self.ids, np.array(self.groups or [], dtype="U"))

    def take(self, index: Tensor) -> Rows:
        """Some of the rows: an index (n,) or a mask."""
        where = torch.arange(len(self))[index]
        groups = None if self.groups is None else tuple(self.groups[i] for i in where.tolist())
        return replace(self, x=self.x[where], y=self.y[where], ids=self.ids[where], groups=groups)
