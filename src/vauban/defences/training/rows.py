"""The rows to train on, and those kept apart to choose the best epoch by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.data import Rows, fingerprint
from vauban.doors.oracle.entry import checked_rows
from vauban.errors import BadData
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Threat

Given = Rows | tuple[Tensor, Tensor]
MOST, LEAST = 512, 16
"""How many held-out rows are measured at most, and how many there must be."""


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs (n, *shape), true classes (n,), and the ids that noise is keyed by (n,), on the CPU."""

    x: Tensor
    y: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Part:
        """Some of the rows."""
        return Part(self.x[index], self.y[index], self.ids[index])

    @property
    def sha256(self) -> str:
        """Of all of it."""
        return fingerprint(self.x, self.y, self.ids)


def part_of(given: Given, target: Target, threat: Threat) -> Part:
    """Rows as they were given, checked against the threat's box and the target's classes.

    Raises:
        BadData: they cannot be trained on.
    """
    x, y, ids = (given.x, given.y, given.ids) if isinstance(given, Rows) else (*given, torch.arange(len(given[0])))
    x, y = checked_rows(x, y, torch.device("cpu"), threat)
    classes = target.scores(x[:2].to(target.device)).shape[1]
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise BadData(f"the training labels span {int(y.min())} to {int(y.max())}, and {target.name} has classes 0 to {classes - 1}")
    return Part(x, y, ids.cpu())


def apart(rows: Part, share: float, seed: int) -> tuple[Part, Part]:
    """(rows to train on, held-out rows): a uniform sample of a share of the rows is held out. Which ones depends on the seed and their ids.

    Raises:
        BadData: that would hold out too few rows, or leave none.
    """
    order = RowNoise(rows.ids, seed, "held out").bits(1)[:, 0].argsort(stable=True)
    count = round(share * len(rows))
    return rows.take(order[count:].sort().values), rows.take(order[:count].sort().values)


def measured(given: Given, target: Target, threat: Threat, share: float, seed: int) -> Part:
    """The rows that are held out of these, as many as are measured after every epoch."""
    return few(apart(part_of(given, target, threat), share, seed)[1], seed)


def few(held: Part, seed: int) -> Part:
    """As many of the held-out rows as are measured after every epoch.

    Raises:
        BadData: there are too few to choose an epoch by.
    """
    if len(held) < LEAST:
        raise BadData(
            f"{len(held)} held-out rows are too few to choose the best epoch by; give {LEAST} or more: more rows, or a larger held_out"
        )
    return some(held, seed)


def some(rows: Part, seed: int) -> Part:
    """As many of the rows as are measured at most."""
    if len(rows) <= MOST:
        return rows
    return rows.take(RowNoise(rows.ids, seed, "measured").bits(1)[:, 0].argsort(stable=True)[:MOST].sort().values)
