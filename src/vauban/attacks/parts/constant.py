"""Binary search of the constant that weighs success against size, with a clock for each row (Carlini and Wagner 2017, section VI-B)."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.doors import Oracle, Rows

HUGE = 1e10
CHECKS = 20
"""How often in one search a row is looked at."""


def patience(steps: int) -> float:
    """What a row's best objective must have fallen to since the last look for its search to go on. Long searches are asked for precision:
    0.988 at 200 steps, 0.999 at 1000 (chosen on the reference model of MNIST); short ones are never ended."""
    return 1 - 35 / steps**1.5 if steps >= 2 * CHECKS else 1.0


def start_search(o: Oracle, constant: float) -> Rows:
    """State of the search: the constant `c`, its bounds, how many searches a row has ended, and how its objective did at the last check."""
    n, like = len(o), o.x
    return o.rows(
        c=like.new_full((n,), constant),
        low=like.new_zeros(n),
        high=like.new_full((n,), HUGE),
        ended=torch.zeros(n, dtype=torch.int64, device=like.device),
        found=torch.zeros(n, dtype=torch.bool, device=like.device),
        turn=torch.zeros(n, dtype=torch.int64, device=like.device),
        best=like.new_full((n,), HUGE),
        last=like.new_full((n,), HUGE),
    )


def next_turn(o: Oracle, q: Rows, won: Tensor, objective: Tensor, steps: int, searches: int) -> Tensor:
    """Count one turn of each row. A row whose best objective has not fallen since the last check, or that has had its steps, ends its
    search: its constant is lowered if it won and raised if not, and after `searches` of them it leaves.

    Returns:
        bool (n,): the rows that begin a new search and must be put back to their start.
    """
    q.found = q.found | won
    q.turn = q.turn + 1
    q.best = torch.minimum(q.best, objective)
    check = (q.turn % max(steps // CHECKS, 1)) == 0
    stuck = check & (q.best > q.last * patience(steps))
    q.last = torch.where(check, q.best, q.last)
    over = stuck | (q.turn >= steps)
    if not bool(over.any()):
        return over
    q.high = torch.where(over & q.found, torch.minimum(q.high, q.c), q.high)
    q.low = torch.where(over & ~q.found, torch.maximum(q.low, q.c), q.low)
    q.c = torch.where(over, torch.where(q.high < HUGE, (q.low + q.high) / 2, q.c * 10), q.c)
    q.found, q.turn = q.found & ~over, torch.where(over, 0, q.turn)
    q.last, q.best = torch.where(over, HUGE, q.last), torch.where(over, HUGE, q.best)
    q.ended = q.ended + over.long()
    o.leave(q.ended >= searches)
    return over
