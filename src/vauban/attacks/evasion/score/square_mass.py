"""The moves of the Square attack in L2 and L1: one window loses all its change, and another gets the norm of both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.bumps import bump, tiles
from vauban.attacks.parts.windows import Frame, draw
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows

INWARD = 1 - 2.0**-16
"""How far inside the radius a change is kept, so that rounding does not carry it out."""
FLAT = 1e-4
"""A sum of a bump and what was there that is smaller than this is rounding: they cancel."""


class Masses:
    """A change of each row that has all the norm it may have, and one move away from it (Andriushchenko et al. 2020, algorithm 3).

    The mass of a change is the sum of its squares, or in L1 of its absolute values: masses add up. A move empties one window, and gives its
    mass, that of another window and what is unused to the other one, channel by channel: to a bump of random sign plus what was there
    before, both of norm 1. What a wall of the box cuts off is unused, and goes to the windows after it. Nothing else changes, so that a
    move costs as much as its windows are large.

    Args:
        o: the oracle.
        part: the share of the input in each window of a move.
    """

    def __init__(self, o: Oracle, part: Callable[[int], float]) -> None:
        self.o, self.p, self.shape, self.part, self.frame = o, o.ball.p, o.x.shape[1:], part, Frame.of(o)
        self.full = (o.eps * INWARD) ** self.p
        lower, upper = (limit.flatten(1) for limit in o.limits)
        clean = o.x.flatten(1)
        self.s = o.rows(x=self._start(clean, lower, upper), clean=clean, lower=lower, upper=upper, mass=clean.new_zeros(len(o)))
        self.first = self.until = 0
        self.block: Rows
        self.moved: tuple[Tensor, ...]

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape): the inputs with their change, or the move proposed."""
        return self.s.x.view(-1, *self.shape)

    def propose(self, turn: int) -> None:
        """Move mass from a second window of each row to the first, in place."""
        if turn >= self.until:
            self._draw(turn)
        s, b, k = self.s, self.block, turn - self.first
        place, other, added = b.place.select(1, k), b.other.select(1, k), b.bump.select(1, k)
        clean, old = s.clean.gather(1, place), s.x.gather(1, place)
        s.x.scatter_(1, place, clean)
        bare, gone = s.clean.gather(1, other), s.x.gather(1, other)  # what the windows share is counted once: it is clean by now
        s.x.scatter_(1, other, bare)
        change = (old - clean).view_as(added)
        own = self._mass(change).sum(2)
        taken = own + self._mass(gone - bare).view_as(added).sum(2)
        spare = (self.full - s.mass) / added.shape[1]
        new = self._blended(added, change, own, taken + spare[:, None])
        new = torch.clamp(clean + new.flatten(1), s.lower.gather(1, place), s.upper.gather(1, place))
        s.x.scatter_(1, place, new)
        mass = s.mass - taken.sum(1) + self._mass(new - clean).sum(1)
        self.moved = place, old, new, other, gone, bare, mass

    def keep(self, better: Tensor) -> None:
        """Keep the moves of these rows, bool (n,), and take the others back."""
        s, yes = self.s, better[:, None]
        place, old, new, other, gone, bare, mass = self.moved
        s.x.scatter_(1, other, torch.where(yes, bare, gone))
        s.x.scatter_(1, place, torch.where(yes, new, old))
        s.mass = torch.where(better, mass, s.mass)

    def _blended(self, added: Tensor, change: Tensor, own: Tensor, mass: Tensor) -> Tensor:
        """A bump plus the change that was there, both of norm 1, with a given mass: (n, G, m), from masses (n, G)."""
        both = added + change / self._root(own).clamp_min(1e-30)[:, :, None]
        norm = self._root(self._mass(both).sum(2, keepdim=True))
        both, norm = torch.where(norm < FLAT, added, both), torch.where(norm < FLAT, 1.0, norm)
        return both * (self._root(mass.clamp_min(0))[:, :, None] / norm)

    def _mass(self, change: Tensor) -> Tensor:
        return change.square() if self.p == 2 else change.abs()

    def _root(self, mass: Tensor) -> Tensor:
        return mass.sqrt() if self.p == 2 else mass

    def _start(self, clean: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """An image tiled with bumps of random signs, or a vector of random signs, with all the norm there is."""
        noise = self.o.noise
        change = tiles(noise, self.frame, self.p) if self.frame.image else noise.sign(*self.shape)
        change = change.flatten(1).to(clean.dtype) * (upper > lower)
        change = change * (self.o.eps * INWARD / norms_of_rows(change, self.p, 1).clamp_min(1e-30))[:, None]
        return torch.clamp(clean + change, lower, upper)

    def _draw(self, turn: int) -> None:
        block = draw(self.o, self.frame, lambda i: self.frame.sides(self.part(i), odd=self.frame.image), turn, each=2)
        self.first, self.until = turn, turn + block.questions
        place, other = block.place.flatten(3).unbind(2)
        shape = bump(*block.sides, self.p).to(self.s.x)
        if self.frame.image:
            turned = bump(block.sides[1], block.sides[0], self.p).to(self.s.x).T
            shape = torch.stack([shape.flatten(), turned.flatten()])[block.turned][:, :, None]
        else:
            shape = torch.full_like(shape, shape.numel() ** (-1 / self.p))
        self.block = self.o.rows(place=place, other=other, bump=shape * (2 * block.up - 1))
        self.s.mass = self._mass(self.s.x - self.s.clean).sum(1)
