"""Sparse-RS for patches: random search over where a patch lies and what it shows."""

from __future__ import annotations

import math
from bisect import bisect_left

import torch
from torch import Tensor

from vauban.attacks.parts.halvings import MARKS, Schedule
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.places import Places
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Share, attack
from vauban.doors import Oracle
from vauban.threat import INF, Access

DIVISORS = (1, 2, 4, 8, 16, 32, 32, 64, 64, 128)
"""By what the share of the patch that is repainted is divided once iteration 10, 50, ... of 10,000 is passed."""
REACH = 0.75
"""How far the patch is moved at most, as a share of the image; it falls to nothing along a line."""


@attack(Access.SCORE, on=("patch",), images=True, paper="Croce et al. 2022, arXiv:2006.12834, algorithm 1 and section 5")
def sparse_rs_patch(
    o: Oracle,
    queries: Count = 5000,
    alpha_init: Share = 0.4,
    period: Count = 4,
    loss: LossName = "margin",
    schedule: Schedule = "rescaled",
    restarts: Count = 1,
) -> None:
    """Repaints parts of a patch in random colours, moves it every `period`-th time, and keeps what raises the objective.

    Every feature of the patch is at one end of its range. It begins at a random place with vertical stripes. A part to repaint is a window of the
    patch's own proportions, first `alpha_init` of it and less and less ("rescaled": over `queries` as the published schedule does over 10,000),
    in one colour; once it is down to a pixel, in the second half of the questions left, single channels of pixels are turned round. For goals that
    want a class, 0.1 and a `period` of 10 were published. A proposal that would change nothing is changed until it does.

    Each restart asks `queries` questions. What a patch shows is right for one place, so that a search that began at a bad one rarely leaves it:
    several short searches find more than a long one.
    """
    asked = int(min(queries, o.threat.queries))
    for _ in o.restarts(restarts):
        patch = _Painted(o, asked, _Sizes(alpha_init, asked, schedule))
        best = o.rows(value=o.x.new_full((len(o),), -INF))
        for i in o.steps(queries):
            if i:
                patch.propose(i, move=i % period == 0)
            value = o.score(patch.point, LOSSES[loss])
            if i:
                patch.keep(value > best.value)
            best.value = torch.fmax(best.value, value)


class _Sizes:
    """How large a part of the patch is repainted in each iteration."""

    def __init__(self, first: float, queries: int, schedule: Schedule) -> None:
        self.first, self.queries, self.schedule = first, queries, schedule

    def share(self, iteration: int) -> float:
        """The share of the patch's area, from iteration 1 on."""
        place = iteration if self.schedule == "published" else iteration * 10_000 // self.queries
        return self.first / DIVISORS[bisect_left(MARKS, place)]

    def sides(self, iteration: int, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels, at least 1 each.

        >>> sizes = _Sizes(0.4, 10_000, "rescaled")
        >>> [sizes.sides(i, 20, 20) for i in (1, 11, 51, 9000)]
        [(12, 12), (8, 8), (6, 6), (1, 1)]
        """
        part = math.sqrt(self.share(iteration))
        return max(int(part * height), 1), max(int(part * width), 1)

    def single(self, height: int, width: int) -> int:
        """From which iteration on single channels are turned round: the middle of those with one pixel to repaint."""
        small = next((i for i in range(1, self.queries) if self.sides(i, height, width) == (1, 1)), self.queries)
        return small + (self.queries - small) // 2


class _Painted:
    """A patch of each row: where it lies, at which end of its range each of its features is, and one change of either.

    Args:
        o: the oracle.
        queries: questions in all.
        sizes: how large a part is repainted.
    """

    def __init__(self, o: Oracle, queries: int, sizes: _Sizes) -> None:
        self.o, self.queries, self.sizes, self.places = o, queries, sizes, Places.of(o)
        channels, self.height, self.width = o.x.shape[1], self.places.height, self.places.width
        self.single = sizes.single(self.height, self.width)
        stripes = o.noise.integers(2, channels, 1, self.width).bool().expand(-1, -1, self.height, -1)
        self.s = o.rows(place=self.places.anywhere(o), up=stripes)
        self.before = o.rows(place=self.s.place, up=self.s.up)

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape)."""
        return self.places.shown(self.o, self.s.place, self.s.up.flatten(1))

    def propose(self, iteration: int, *, move: bool) -> None:
        """Move the patch, where there is somewhere to go, or repaint a part of it."""
        self.before.place, self.before.up = self.s.place, self.s.up
        left = REACH * (1 - iteration / self.queries)
        reach = [int(left * side) for side in self.o.x.shape[2:]]
        if move and max(reach) and self.places.count > 1:
            shifts = (self.o.noise.integers(2 * far + 1) - far for far in reach)
            self.s.place = self.places.shifted(self.s.place, *shifts)
        elif iteration < self.single:
            self._repaint(*self.sizes.sides(iteration, self.height, self.width))
        else:
            which = self.o.noise.integers(self.s.up[0].numel(), 1)
            self.s.up = self.s.up.flatten(1).scatter(1, which, ~self.s.up.flatten(1).gather(1, which)).view_as(self.s.up)

    def keep(self, better: Tensor) -> None:
        """Keep the changes of these rows, bool (n,), and take the others back."""
        s, before = self.s, self.before
        s.place, s.up = pick(better, s.place, before.place), pick(better, s.up, before.up)

    def _repaint(self, height: int, width: int) -> None:
        """One random part of each row's patch in one random colour, or in the opposite one where it has the first already."""
        noise, up = self.o.noise, self.s.up
        top, left = noise.integers(self.height + 1 - height, 1), noise.integers(self.width + 1 - width, 1)
        rows, columns = torch.arange(self.height, device=up.device), torch.arange(self.width, device=up.device)
        tall, wide = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
        part = (tall[:, :, None] & wide[:, None])[:, None]
        colour = noise.integers(2, up.shape[1], 1, 1).bool()
        known = ((up == colour) | ~part).flatten(1).all(1)
        self.s.up = torch.where(part, pick(known, ~colour, colour), up)
