"""RayS: a search over sign vectors for the nearest boundary in L-infinity."""

from __future__ import annotations

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

CHECK, SEARCH = range(2)
KINDS = ("step", "projection")


@attack(Access.LABEL, on=("linf",), minimal=True, paper="Chen and Gu 2020, arXiv:2006.12792, algorithms 1 to 3")
def rays(o: Oracle, queries: Count = 10_000, tolerance: Positive = 1e-3) -> None:
    """Turns the signs of blocks of features, halved level by level; what still fools at the present radius is searched for a smaller one.

    At most `queries` questions on each row. A search ends at `tolerance`, in widths of the box. It begins with all features going up, or with
    the signs of an example, a transfer candidate or a sample, where the attacker has one; a row whose single features were all turned
    without success leaves.
    """
    start, _ = likely_success(o)
    ones, whole = torch.ones_like(start), torch.zeros(len(o), dtype=torch.int64, device=start.device)
    width = start.new_full((len(o),), o.ball.width)
    s = o.rows(
        signs=torch.where(start < o.x, -ones, ones),
        radius=width,
        low=torch.zeros_like(width),
        phase=whole,
        level=whole,
        block=whole - 1,
        luck=whole > 0,
    )
    for _ in o.steps(queries):
        searching = s.phase == SEARCH
        # a search keeps the block turned whose success began it
        signs = flipped(s.signs, s.level, s.block)
        radius = torch.where(searching, (s.low + s.radius) / 2, s.radius)
        won, _ = ask(o, torch.addcmul(o.x, signs, per_row(radius, signs)).clamp(*o.limits), s.phase, KINDS)
        s.low, s.radius = halved(s.low, s.radius, won, searching)
        s.phase = torch.where(won & ~searching, SEARCH, s.phase)
        found = searching & (s.radius - s.low <= tolerance * o.ball.width)
        s.signs, s.luck = pick(found, signs, s.signs), s.luck | found
        _go_on(o, s, found | ~(won | searching))


def _go_on(o: Oracle, s: Rows, ready: Tensor) -> None:
    """To the next block; without success on any single feature nothing is left to be turned."""
    level, block, around = following(s.signs[0].numel(), s.level, s.block)
    s.level, s.block = torch.where(ready, level, s.level), torch.where(ready, block, s.block)
    s.low, s.phase = torch.where(ready, 0.0, s.low), torch.where(ready, CHECK, s.phase)
    over = ready & around
    o.leave(over & ~s.luck)
    s.luck = s.luck & ~over
