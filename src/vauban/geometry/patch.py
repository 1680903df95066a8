"""The patch: any change inside one rectangular window of an image, placed anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vauban.geometry.body import Body, float64, per_row
from vauban.geometry.l0 import furthest


@dataclass(frozen=True, eq=False, kw_only=True)
class Window(Body):
    """Images (channels, height, width) of which only the pixels of one window change, wherever it lies and however they do.

    The size of a change is the longer side, in pixels, of the smallest window of the threat's proportions that holds every changed pixel: for
    squares a whole number, for others a fraction of one where the shorter side decides. `eps` is the longer side that is allowed.

    Attributes:
        sides: height and width of the window whose longer side is `eps`; with another radius, its proportions.
    """

    p: ClassVar[float] = 0.0
    sides: tuple[int, int]

    def window(self, longer: float, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width, in whole pixels, of the window with that longer side in an image of that shape."""
        return tuple(  # pyright: ignore[reportReturnType]  # as many as there are sides
            most if longer == math.inf else min(math.floor(longer * side / max(self.sides)), most)
            for side, most in zip(self.sides, shape[-2:], strict=True)
        )

    def norm(self, d: Tensor, features: int) -> Tensor:
        changed = (d != 0).any(-3)
        tall, wide = (_extent(changed.any(k)).to(d.dtype) * max(self.sides) / side for k, side in zip((-1, -2), self.sides, strict=True))
        return torch.maximum(tall, wide)

    def project(self, x0: Tensor, x: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Onto the box, then of all windows the one with the largest change is kept and the rest put back: what is nearest to the boxed point."""
        boxed = torch.clamp(x, *limits)
        return torch.where(self._kept(boxed - x0, self.eps), boxed, x0)

    def cut(self, d: Tensor, radius: float | Tensor, features: int) -> Tensor:
        return torch.where(self._kept(d, radius), d, 0.0)

    def _kept(self, d: Tensor, radius: float | Tensor) -> Tensor:
        """Which pixels (..., 1, height, width) stay changed: all where they fit into a window already, else those of the best one."""
        inside = self.norm(d, 3) <= radius
        best = self._best(float64(d).square().sum(-3), radius)
        return (best | inside[..., None, None].to(best.device)).unsqueeze(-3).to(d.device)

    def steepest(self, gradient: Tensor, size: float | Tensor = 1.0, room: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Every feature of one window of longer side `size` to the end of its room (or by 1): of all places the one with the largest gain."""
        move = furthest(gradient, room)
        best = self._best(float64(gradient * move).sum(-3), size).unsqueeze(-3)
        return torch.where(best.to(move.device), move, 0.0)

    def _best(self, worth: Tensor, longer: float | Tensor) -> Tensor:
        """Marks the window worth most, for what each pixel (..., height, width) is worth; the first in reading order where they tie."""
        if not isinstance(longer, Tensor):
            return heaviest(worth, *self.window(longer, worth.shape))
        best = torch.zeros_like(worth, dtype=torch.bool)
        for one in longer.unique().tolist():
            rows = (longer == one).to(best.device)
            best = torch.where(per_row(rows, best), heaviest(worth, *self.window(one, worth.shape)), best)
        return best

    @property
    def tolerance(self) -> float:
        """Counts are exact: nothing is forgiven."""
        return 0.0


def heaviest(worth: Tensor, height: int, width: int) -> Tensor:
    """Marks the window of that size with the largest sum of `worth` (..., rows, columns), 0 or more; bool, the first one where they tie.

    >>> heaviest(torch.tensor([[0.0, 1, 2], [0, 0, 3], [5, 0, 0]]), 2, 2).int().tolist()
    [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    """
    if height < 1 or width < 1:
        return torch.zeros_like(worth, dtype=torch.bool)
    sums = sums_of_windows(worth, height, width)
    place = sums.flatten(-2).argmax(-1)[..., None]
    top, left = place // sums.shape[-1], place % sums.shape[-1]
    rows, columns = torch.arange(worth.shape[-2], device=worth.device), torch.arange(worth.shape[-1], device=worth.device)
    inside = (rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width)
    return inside[0].unsqueeze(-1) & inside[1].unsqueeze(-2)


def sums_of_windows(worth: Tensor, height: int, width: int) -> Tensor:
    """The sum of `worth` (..., rows, columns) over every window of that size, by its upper left corner (..., places below, places beside)."""
    total = torch.nn.functional.pad(worth.cumsum(-2).cumsum(-1), (1, 0, 1, 0))
    lower = total[..., height:, width:] - total[..., height:, :-width]
    return lower - total[..., :-height, width:] + total[..., :-height, :-width]


def _extent(marked: Tensor) -> Tensor:
    """From the first to the last of the places (..., n) that are marked, both counted; 0 where none is."""
    n = marked.shape[-1]
    place = torch.arange(n, device=marked.device)
    first, last = torch.where(marked, place, n).amin(-1), torch.where(marked, place, -1).amax(-1)
    return (last - first + 1).clamp_min(0)
