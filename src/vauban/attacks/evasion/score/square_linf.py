"""The moves of the Square attack in L-infinity: every feature is at one end of its range, and a window goes to one of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.windows import Frame, draw
from vauban.doors import Oracle, Rows


class Corners:
    """A corner of the ball (and the box) for each row, and one move away from it (Andriushchenko et al. 2020, algorithm 2).

    It begins with vertical stripes of random signs. A move that would change nothing turns its signs round, so that no question is asked about
    a point that is known (of those that AutoAttack asks on MNIST, 29 % are).

    Args:
        o: the oracle.
        part: the share of the input in the window of a move.
    """

    def __init__(self, o: Oracle, part: Callable[[int], float]) -> None:
        self.o, self.shape, self.part, self.frame = o, o.x.shape[1:], part, Frame.of(o)
        stripes = o.noise.sign(*((self.shape[0], 1, self.shape[2]) if self.frame.image else self.shape))
        lower, upper = o.limits
        x = torch.where(stripes > 0, upper, lower).contiguous().flatten(1)
        # the ends of each feature side by side: place 2 k + 1 is the upper end of feature k, and flipping the last bit gives the other one
        self.s = o.rows(x=x, ends=torch.stack([lower.flatten(1), upper.flatten(1)], 2).flatten(1))
        self.first = self.until = 0
        self.block: Rows
        self.moved: tuple[Tensor, Tensor, Tensor]

    def begin(self, x: Tensor, where: Tensor) -> None:
        """Stand at other points of the ball, float (n, *shape), in these rows, bool (n,)."""
        self.s.x = torch.where(where[:, None], x.flatten(1), self.s.x)

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape): the corner, or the move proposed."""
        return self.s.x.view(-1, *self.shape)

    def propose(self, turn: int) -> None:
        """Move a window of each row, in place: all of a channel in it (each feature of a vector) to one end of its range."""
        if turn >= self.until:
            self._draw(turn)
        b, k = self.block, turn - self.first
        place, new = b.place.select(1, k), b.new.select(1, k)
        old = self.s.x.gather(1, place)
        new = torch.where((new == old).all(1, keepdim=True), b.turned.select(1, k), new)
        self.s.x.scatter_(1, place, new)
        self.moved = place, old, new

    def keep(self, better: Tensor) -> None:
        """Keep the moves of these rows, bool (n,), and take the others back."""
        place, old, new = self.moved
        self.s.x.scatter_(1, place, torch.where(better[:, None], new, old))

    def _draw(self, turn: int) -> None:
        block, s = draw(self.o, self.frame, lambda i: self.frame.sides(self.part(i)), turn), self.s
        self.first, self.until = turn, turn + block.questions
        places = block.place[:, :, 0]
        end = torch.add(block.up, places, alpha=2).flatten(2)
        new, turned = (s.ends.gather(1, e.flatten(1)).view(end.shape) for e in (end, end ^ 1))
        self.block = self.o.rows(place=places.flatten(2), new=new, turned=turned)
