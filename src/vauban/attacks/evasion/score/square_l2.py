"""The moves of the Square attack in L2: one window loses all its change, and another gets the norm of both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.bumps import blended, draw_pairs, first_change
from vauban.attacks.parts.redrawn import redrawn
from vauban.attacks.parts.windows import Frame
from vauban.doors import Oracle, Rows

INWARD = 1 - 2.0**-16
"""How far inside the radius a change is kept, so that rounding does not carry it out."""


class Masses:
    """A change of each row that has all the norm it may have, and one move away from it (Andriushchenko et al. 2020, algorithm 3).

    The mass of a change is the sum of its squares: masses add up. A move empties one window, and gives its mass, that of another window and
    what is unused to the other one, channel by channel: to a bump of random sign plus what was there before, both of norm 1. What a wall of
    the box cuts off is unused, and goes to the windows after it. Nothing else changes, so that a move costs as much as its windows are
    large.

    Args:
        o: the oracle.
        part: the share of the input in each window of a move.
    """

    def __init__(self, o: Oracle, part: Callable[[int], float]) -> None:
        self.o, self.shape, self.part, self.frame = o, o.x.shape[1:], part, Frame.of(o)
        clean, lower, upper = (t.contiguous().flatten(1) for t in (o.x, *o.limits))
        x = torch.clamp(clean + INWARD * first_change(o, self.frame), lower, upper)
        self.s = o.rows(x=x, clean=clean, lower=lower, upper=upper, mass=clean.new_zeros(len(o)))
        self.first = self.until = 0
        self.block: Rows
        self.moved: tuple[Tensor, ...] = ()

    def begin(self, x: Tensor, where: Tensor) -> None:
        """Stand at other points of the ball, float (n, *shape), in these rows, bool (n,). Before the first move."""
        self.s.x = torch.where(where[:, None], x.flatten(1), self.s.x)

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape): the inputs with their change, or the move proposed."""
        return self.s.x.view(-1, *self.shape)

    def propose(self, turn: int) -> None:
        """Move mass from a second window of each row to the first, in place. Where a move would change nothing, another is made."""
        if turn >= self.until:
            self._draw(turn)
        self.moved = ()
        redrawn(self.block, turn - self.first, self._move)

    def _move(self, place: Tensor, other: Tensor, added: Tensor) -> Tensor:
        """Make a move; which rows it left as they were, bool (n,)."""
        if self.moved:
            self.keep(torch.zeros(len(place), dtype=torch.bool, device=place.device))
        s = self.s
        clean, old = s.clean.gather(1, place), s.x.gather(1, place)
        s.x.scatter_(1, place, clean)
        bare, gone = s.clean.gather(1, other), s.x.gather(1, other)  # what the windows share is counted once: it is clean by now
        s.x.scatter_(1, other, bare)
        change = (old - clean).view_as(added)
        taken = change.square().sum(2) + (gone - bare).view_as(added).square().sum(2)
        unused = ((self.o.eps * INWARD) ** 2 - s.mass) / added.shape[1]
        new = blended(added, change, (taken + unused[:, None]).clamp_min(0).sqrt(), 2.0)
        new = torch.clamp(clean + new.flatten(1), s.lower.gather(1, place), s.upper.gather(1, place))
        s.x.scatter_(1, place, new)
        mass = s.mass - taken.sum(1) + (new - clean).square().sum(1)
        self.moved = place, old, new, other, gone, bare, mass
        return (new == old).all(1) & (bare == gone).all(1)

    def keep(self, better: Tensor) -> None:
        """Keep the moves of these rows, bool (n,), and take the others back."""
        s, yes = self.s, better[:, None]
        place, old, new, other, gone, bare, mass = self.moved
        s.x.scatter_(1, other, torch.where(yes, bare, gone))
        s.x.scatter_(1, place, torch.where(yes, new, old))
        s.mass = torch.where(better, mass, s.mass)

    def _draw(self, turn: int) -> None:
        self.block = draw_pairs(self.o, self.frame, self.part, turn)
        self.first, self.until = turn, turn + self.block.place.shape[1]
        self.s.mass = (self.s.x - self.s.clean).square().sum(1)  # counted anew, before rounding adds up
