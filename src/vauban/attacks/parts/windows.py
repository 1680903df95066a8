"""Random windows of an input: squares of an image, or a few features of a vector, drawn for many questions at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.doors import Oracle

QUESTIONS, PLACES = 128, 1024
"""The most questions that noise is drawn for at once, and the most places that their windows have in one row. The draws of a row must not
depend on how many rows there are."""


@dataclass(frozen=True)
class Frame:
    """Where windows lie: an image (channels, height, width), or the part of it that a mask leaves; or a vector without neighbours.

    Attributes:
        shape: of one input.
        top, left, height, width: the part in which features may change; 0, 0, 1 and their number for a vector.
        image: whether features have neighbours, that is, whether the shape has three dimensions.
    """

    shape: tuple[int, ...]
    top: int
    left: int
    height: int
    width: int
    image: bool

    @classmethod
    def of(cls, o: Oracle) -> Frame:
        """The frame of the inputs an oracle holds, under the mask of its threat."""
        shape, mask = tuple(o.x.shape[1:]), o.ball.mask
        if len(shape) != 3:
            return cls(shape, 0, 0, 1, math.prod(shape) if mask is None else max(int(mask.sum()), 1), image=False)
        if mask is None or not bool(mask.any()):
            return cls(shape, 0, 0, *shape[1:], image=True)
        down, across = (mask.any(0).any(k).nonzero()[:, 0] for k in (1, 0))
        top, left = int(down[0]), int(across[0])
        return cls(shape, top, left, int(down[-1]) + 1 - top, int(across[-1]) + 1 - left, image=True)

    @property
    def channels(self) -> int:
        return self.shape[0] if self.image else 1

    def sides(self, part: float, *, odd: bool = False) -> tuple[int, int]:
        """Height and width of the window that covers a share of the frame.

        A square of side round(sqrt(part * height * width)), at least 1, or odd (rounded up) and at least 3; where that does not fit, all of
        the height (or width) there is, and as wide (or high) as covers the share. Of a vector round(part * features), at least 1.

        >>> Frame((1, 28, 28), 0, 0, 28, 28, image=True).sides(0.05)
        (6, 6)
        """
        area, short, long = part * self.height * self.width, min(self.height, self.width), max(self.height, self.width)
        least = 3 if odd else 1
        side = max(round(math.sqrt(area)), least)
        side += (side + 1) % 2 if odd else 0
        if self.image and side <= short:
            return side, side
        rest = min(max(round(max(area, least**2) / short), 1), long)
        return (short, rest) if self.height <= self.width else (rest, short)


@dataclass(frozen=True, eq=False)
class Block:
    """The noise of several questions in a row, for windows of one size. G groups of m features: the channels of an image, or one of a vector.

    Attributes:
        sides: height and width of the windows.
        place: int64 (rows, questions, each, G, m), where their features lie in the flattened inputs.
        up: int64 (rows, questions, G, 1) for an image, (rows, questions, 1, m) for a vector: 0 or 1, as likely.
    """

    sides: tuple[int, int]
    place: Tensor
    up: Tensor

    @property
    def questions(self) -> int:
        return self.place.shape[1]


def draw(o: Oracle, frame: Frame, sides: Callable[[int], tuple[int, int]], first: int, each: int = 1) -> Block:
    """Random windows, each row's own, for the questions from number `first` on, as long as they are equally large: `each` for a question.

    For a vector, the features of a window follow each other in a random order of the row's own, drawn anew for each block of questions:
    the columns of a table have no neighbours, so that a run of consecutive ones would only ever try what the table's author put side by
    side. For the same reason each feature of it has a sign of its own, where an image has one for each channel: there, neighbours with a
    common sign are what convolutions answer to.
    """
    size = sides(first)
    most = max(min(QUESTIONS, PLACES // (each * frame.channels * math.prod(size))), 1)
    count = next((k for k in range(1, most) if sides(first + k) != size), most)
    at = o.noise.uniform(count, each, 2)
    place = _in_image(o, frame, at, size) if frame.image else _in_vector(o, frame, at, size[1])
    return Block(size, place, o.noise.integers(2, count, *((frame.channels, 1) if frame.image else (1, size[1]))))


def _in_image(o: Oracle, frame: Frame, at: Tensor, sides: tuple[int, int]) -> Tensor:
    """Windows whose corners are uniform over all places where they fit, for uniform numbers (rows, questions, each, 2)."""
    room = torch.tensor([frame.height + 1 - sides[0], frame.width + 1 - sides[1]], device=at.device)
    down, across = (at * room).long().unbind(-1)
    corner = (down + frame.top) * frame.shape[2] + across + frame.left
    grid = torch.arange(math.prod(frame.shape), device=at.device).view(frame.shape)
    return corner[..., None, None] + grid[:, : sides[0], : sides[1]].flatten(1)


def _in_vector(o: Oracle, frame: Frame, at: Tensor, features: int) -> Tensor:
    """Runs of features in a random order of each row, which closes into a ring."""
    order = o.noise.uniform(frame.width).argsort(1)
    if o.ball.mask is not None:
        order = o.ball.mask.flatten().nonzero()[:, 0][order]
    run = (at[..., :1] * frame.width).long() + torch.arange(features, device=at.device)
    return order.gather(1, (run % frame.width).flatten(1)).view(run.shape).unsqueeze(-2)
