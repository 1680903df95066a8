"""The moves of the Square attack in L1: one window loses all its change, another gets more than both had, and all the rest shrinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from vauban.attacks.parts.bumps import blended, draw_pairs, first_change
from vauban.attacks.parts.redrawn import redrawn
from vauban.attacks.parts.windows import Frame
from vauban.doors import Oracle, Rows
from vauban.geometry.l1 import L1
from vauban.geometry.l1_box import onto_ball_in_box

HEAVY = 5
"""How many times the norm of both windows one of them gets before the projection. Once, as in L2, leaves changes that are never sparse: on
a CNN of ours for 8 x 8 digits, at radius 3, 500 questions then leave .163 standing, against .020, .013 and .020 with 2, 5 and 8 times."""


class Spikes:
    """A change of each row on the L1 sphere, and one move away from it, as in L2 with absolute values in place of squares; then all is
    projected onto ball and box at once, which cuts off small changes (Croce and Hein 2021, arXiv:2103.01208, section 2.2).

    Args:
        o: the oracle.
        part: the share of the input in each window of a move.
    """

    def __init__(self, o: Oracle, part: Callable[[int], float]) -> None:
        self.o, self.shape, self.part, self.frame = o, o.x.shape[1:], part, Frame.of(o)
        clean, lower, upper = (t.contiguous().flatten(1) for t in (o.x, *o.limits))
        self.s = o.rows(x=clean, clean=clean, lower=lower, upper=upper)
        self.s.x = self.s.tried = self._projected(first_change(o, self.frame))
        self.first = self.until = 0
        self.block: Rows

    def begin(self, x: Tensor, where: Tensor) -> None:
        """Stand at other points of the ball, float (n, *shape), in these rows, bool (n,)."""
        self.s.x = self.s.tried = torch.where(where[:, None], x.flatten(1), self.s.x)

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape): the inputs with their change, or the move proposed."""
        return self.s.tried.view(-1, *self.shape)

    def propose(self, turn: int) -> None:
        """Move norm from a second window of each row, and from everywhere, to the first. Where a
        move would change nothing, another is made."""
        if turn >= self.until:
            self._draw(turn)
        redrawn(self.block, turn - self.first, self._move)

    def _move(self, place: Tensor, other: Tensor, added: Tensor) -> Tensor:
        """Make a move; which rows it left as they were, bool (n,)."""
        s = self.s
        d = s.x - s.clean
        change = d.gather(1, place).view_as(added)
        unused = (self.o.eps - d.abs().sum(1)).clamp_min(0) / added.shape[1]
        d = d.scatter_(1, place, 0.0)
        taken = change.abs().sum(2) + d.gather(1, other).view_as(added).abs().sum(2)  # what the windows share is counted once
        new = blended(added, change, HEAVY * (taken + unused[:, None]), 1.0)
        s.tried = self._projected(d.scatter_(1, other, 0.0).scatter_(1, place, new.flatten(1)))
        return (s.tried == s.x).all(1)

    def keep(self, better: Tensor) -> None:
        """Keep the moves of these rows, bool (n,), and take the others back."""
        self.s.x = self.s.tried = torch.where(better[:, None], self.s.tried, self.s.x)

    def _projected(self, d: Tensor) -> Tensor:
        s = self.s
        return onto_ball_in_box(cast(L1, self.o.ball), s.clean, s.clean + d, (s.lower, s.upper))

    def _draw(self, turn: int) -> None:
        self.block = draw_pairs(self.o, self.frame, self.part, turn)
        self.first, self.until = turn, turn + self.block.place.shape[1]
