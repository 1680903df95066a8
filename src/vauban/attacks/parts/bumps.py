"""What is added in windows where a norm is a sum: two opposed pyramids in an image, signs in a vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.windows import Frame, draw
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows
from vauban.noise import RowNoise

FLAT = 1e-4
"""Where the sum of a bump and a change, both of norm 1, is smaller than this, they cancel and what is left is rounding."""


def pyramid(height: int, width: int) -> Tensor:
    """Steps that rise towards the middle (Andriushchenko et al. 2020, arXiv:1912.00049, equation 2), float32 (height, width).

    The value at a Chebyshev distance k from the middle is the sum of 1/j^2 for j from k + 1 to half the longer side, rounded down, plus 1.
    """
    down, across = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    away = torch.maximum(down.abs()[:, None], across.abs()[None])
    levels = torch.arange(1, max(height, width) // 2 + 2).float() ** -2
    return levels.flip(0).cumsum(0).flip(0)[away]


def bump(height: int, width: int, p: float) -> Tensor:
    """A pyramid up in the upper half of a window and one down in the lower half, equally heavy; of Lp norm 1, float32 (height, width)."""
    if height == 1:
        whole = pyramid(height, width)
        return whole / torch.linalg.vector_norm(whole, p)
    halves = [pyramid(height // 2, width), pyramid(height - height // 2, width)]
    upper, lower = (half / torch.linalg.vector_norm(half, p) for half in halves)
    return torch.cat([upper, -lower]) / 2 ** (1 / p)


def tiles(noise: RowNoise, frame: Frame, p: float) -> Tensor:
    """Five bumps to the shorter side of a frame, each with a random sign for each channel, upright or turned: float32 (n, *shape)."""
    side = max(min(frame.height, frame.width) // 5, 1)
    down, across = frame.height // side, frame.width // side
    sign, turned = noise.sign(frame.channels, down, across, 1, 1), noise.uniform(1, down, across, 1, 1) < 0.5
    upright = bump(side, side, p).to(sign)
    tiled = (sign * torch.where(turned, upright.T, upright)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    change = sign.new_zeros(len(noise), *frame.shape)
    top, left = frame.top + (frame.height - down * side) // 2, frame.left + (frame.width - across * side) // 2
    change[:, :, top : top + down * side, left : left + across * side] = tiled
    return change


def first_change(o: Oracle, frame: Frame) -> Tensor:
    """A random change of the flattened inputs with the whole radius for its norm, before the box: tiles, or the signs of a vector."""
    lower, upper = o.limits
    change = tiles(o.noise, frame, o.ball.p) if frame.image else o.noise.sign(*o.x.shape[1:])
    change = torch.where(upper > lower, change.to(o.x.dtype), 0.0).flatten(1)
    return change * (o.eps / norms_of_rows(change, o.ball.p, 1).clamp_min(1e-30))[:, None]


def draw_pairs(o: Oracle, frame: Frame, part: Callable[[int], float], first: int) -> Rows:
    """Two windows for each of the moves from number `first` on, as long as they are equally large, and what the first of them gets.

    Returns:
        place, other: int64 (n, moves, G m), the windows' features in the flattened inputs. bump: (n, moves, G, m), of norm 1 in each group.
    """
    block = draw(o, frame, lambda i: frame.sides(part(i), odd=frame.image), first, each=2)
    place, other = block.place.flatten(3).unbind(2)
    (height, width), p = block.sides, o.ball.p
    if frame.image:
        both = torch.stack([bump(height, width, p).flatten(), bump(width, height, p).T.flatten()])
        shape = both.to(o.x)[o.noise.integers(2, block.questions)][:, :, None]
    else:
        shape = o.x.new_full((width,), width ** (-1 / p))
    return o.rows(place=place, other=other, bump=shape * (2 * block.up - 1))


def blended(added: Tensor, change: Tensor, norm: Tensor, p: float) -> Tensor:
    """A bump plus the change that was there, both of norm 1, with a given norm: (n, G, m), from (n, G, m) twice and (n, G)."""
    both = added + change / norms_of_rows(change, p, 1).clamp_min(1e-30)[:, :, None]
    size = norms_of_rows(both, p, 1)[:, :, None]
    both, size = torch.where(size < FLAT, added, both), torch.where(size < FLAT, 1.0, size)
    return both * (norm[:, :, None] / size)
