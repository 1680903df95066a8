"""ADBA: which of two sign vectors has the nearer boundary in L-infinity, decided without finding either."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from vauban.attacks.parts.blocks import flipped, following
from vauban.attacks.parts.first_success import likely_success
from vauban.attacks.parts.segment import halved
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.turns import ask
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle, Rows
from vauban.geometry import per_row
from vauban.threat import Access

COMPARE, SEARCH = range(2)
KINDS = ("step", "projection")
ROUNDS = 8
"""Radii at which one pair is compared."""
A, B, C, D = 0.0313, 3.066, 0.1676, 0.1340
"""The density of radii of boundaries, a / (r + d)^b + c for r in [0, 1], as the paper fitted it."""


@attack(Access.LABEL, on=("linf",), minimal=True, paper="Wang et al. 2024, arXiv:2406.04998, algorithms 1 and 2 (ADBA-md)")
def adba(o: Oracle, queries: Count = 10_000, tolerance: Positive = 1e-3) -> None:
    """Turns the signs of two neighbouring blocks, each by itself, and keeps the one that fools alone at a common radius.

    Where both do, the radius goes down to the median of where boundaries usually lie. Blocks are halved level by level. At most `queries`
    questions on each row, two in a turn. A first success, and a row for which no block helps, is searched for its boundary to `tolerance` in
    widths of the box; a row that this leaves where it is leaves.
    """
    start, _ = likely_success(o)
    ones, whole = torch.ones_like(start), torch.zeros(len(o), dtype=torch.int64, device=start.device)
    width = start.new_full((len(o),), o.ball.width)
    s = o.rows(
        signs=torch.where(start < o.x, -ones, ones), radius=width, high=width, low=torch.zeros_like(width), before=width,
        phase=whole, rounds=whole, level=whole, block=whole - 1, luck=whole > 0, found=whole > 0,
    )  # fmt: skip
    for _ in o.steps(queries):
        comparing = s.phase == COMPARE
        pair = torch.stack([flipped(s.signs, s.level, s.block + k) for k in range(2)])
        signs = torch.where(per_row(comparing, o.x), pair, s.signs)
        radius = torch.where(comparing, s.radius, (s.low + s.high) / 2)
        points = torch.addcmul(o.x, signs, per_row(radius, o.x)).clamp(*o.limits)
        won, _ = ask(o, points, s.phase, KINDS, torch.stack([comparing | ~comparing, comparing]))
        _search(o, s, won[0], ~comparing, tolerance)
        _compare(o, s, won, pair, comparing, tolerance)


def _compare(o: Oracle, s: Rows, won: Tensor, pair: Tensor, here: Tensor, tolerance: float) -> None:
    """One alone is kept, at this radius; of both the nearer is looked for further in, of neither further out, or no more if that is the end."""
    both, neither, first = won.all(0) & here, ~won.any(0) & here, s.rounds == 0
    s.high, s.low = torch.where(both, s.radius, s.high), torch.where(neither, s.radius, s.low)
    s.rounds = s.rounds + here.long()
    tie = here & ~(neither & first) & (both | neither)
    end = tie & ((s.rounds >= ROUNDS) | (s.high - s.low <= tolerance * o.ball.width))
    alone = here & (won[0] ^ won[1])
    s.signs = pick(alone & won[1], pair[1], pick(end | (alone & won[0]), pair[0], s.signs))
    s.high = torch.where(alone, s.radius, s.high)
    s.luck = s.luck | alone | end
    again = tie & ~end
    s.radius = torch.where(again, median(s.low / o.ball.width, s.high / o.ball.width) * o.ball.width, torch.where(here, s.high, s.radius))
    _go_on(o, s, here & ~again)


def _go_on(o: Oracle, s: Rows, ready: Tensor) -> None:
    """To the next pair; after a first success, and after single features without any, to the boundary first."""
    level, block, around = following(s.signs[0].numel(), s.level, s.block, 2)
    s.level, s.block = torch.where(ready, level, s.level), torch.where(ready, block, s.block)
    s.low, s.rounds = torch.where(ready, 0.0, s.low), torch.where(ready, 0, s.rounds)
    over = ready & around
    o.leave(over & ~s.luck & ~s.found)
    search = ready & s.luck & ~s.found | over & ~s.luck
    s.before = torch.where(search, s.radius, s.before)
    s.phase = torch.where(search, SEARCH, s.phase)
    s.found, s.luck = s.found | s.luck, s.luck & ~over


def _search(o: Oracle, s: Rows, won: Tensor, here: Tensor, tolerance: float) -> None:
    """One halving of the way to the boundary along the signs that are kept."""
    s.low, s.high = halved(s.low, s.high, won, here)
    done = here & (s.high - s.low <= tolerance * o.ball.width)
    s.radius = torch.where(done, s.high, s.radius)
    s.low = torch.where(done, 0.0, s.low)
    s.phase = torch.where(done, COMPARE, s.phase)
    # the blocks of a whole level did not help, and the boundary was where it was: this is the end
    o.leave(done & (s.level > 0) & (s.block == 0) & (s.before - s.high <= tolerance * o.ball.width))


def median(low: Tensor, high: Tensor) -> Tensor:
    """The radius that halves the chance of [low, high] (n,), in widths of the box, under the density of the paper."""
    grid, chance = _distribution()
    grid, chance = grid.to(low), chance.to(low)
    last = len(grid) - 1
    ends = [
        torch.lerp(chance[i], chance[(i + 1).clamp_max(last)], r * last - i)
        for r in (low, high)
        for i in [(r * last).long().clamp(0, last)]
    ]
    middle = (ends[0] + ends[1]) / 2
    place = torch.searchsorted(chance, middle).clamp(1, last)
    left, right = chance[place - 1], chance[place]
    found = (place - 1 + (middle - left) / (right - left)) / last
    inside = (found > low) & (found < high)
    return torch.where(inside, found, (low + high) / 2)


@cache
def _distribution() -> tuple[Tensor, Tensor]:
    """The integral of the density over a grid on [0, 1]."""
    grid = torch.linspace(0, 1, 4097, dtype=torch.float64)
    return grid, C * grid - A / (B - 1) * (grid + D) ** (1 - B)
