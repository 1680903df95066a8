"""How many questions an attack may still ask on each row: what it allows itself, and what the budget has left."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vauban.doors import Oracle

IDLE = 4
"""Turns for each question: in some of them a row may have nothing worth asking."""


class Allowance:
    """At most so many questions on each row, whatever the phase that a row is in. What it hands out is counted as asked.

    Args:
        o: the oracle.
        queries: the most questions on a row, from here on.
    """

    def __init__(self, o: Oracle, queries: int) -> None:
        self.o, self.queries = o, queries
        self.s = o.rows(asked=torch.zeros(len(o), dtype=torch.int64, device=o.x.device))

    @property
    def left(self) -> Tensor:
        """What each live row may still ask, int64 (n,)."""
        return torch.minimum(self.o.left, self.queries - self.s.asked)

    def some(self, lead: int, *, spare: int = 0, each: int = 1, among: Tensor | None = None) -> Tensor:
        """Which of `lead` sets of `each` questions a row can pay for with `spare` questions to keep, bool (lead, n); none of a row that is not
        `among`, bool (n,)."""
        room = (self.left - spare).clamp_min(0) // each
        where = torch.arange(1, lead + 1, device=room.device)[:, None] <= room
        where = where if among is None else where & among
        self.s.asked = self.s.asked + each * where.sum(0)
        return where

    def one(self, among: Tensor | None = None) -> Tensor:
        """Which rows can pay for one question, bool (n,); of those `among`, bool (n,)."""
        return self.some(1, among=among)[0]

    def turns(self, least: int = 1) -> Iterator[int]:
        """Count turns until no row is left that may ask `least` questions; rows that may not are left to the attacks after this one."""
        for i in self.o.steps(IDLE * self.queries):
            yield i
            spent = self.left < least
            if bool(spent.any()):
                self.o.leave(spent)
