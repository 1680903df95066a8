"""SignFlip: random signs turned round on the way to a smaller L-infinity change."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.first_success import first_success
from vauban.attacks.parts.segment import size_of, to_boundary
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access

ROUNDS, OFTEN, SELDOM, FACTOR = 10, 0.7, 0.3, 1.5
"""Every so many tries, a length that succeeded more often than `OFTEN` grows by the factor, and one that did more seldom than `SELDOM` shrinks."""

LEAST = 1e-5
"""A row whose steps inwards became shorter than this, in widths of the box, leaves."""


@attack(
    Access.LABEL,
    on=("linf",),
    minimal=True,
    paper="Chen et al. 2020, ECCV, Boosting decision-based black-box adversarial attacks with random sign flip",
)
def sign_flip(o: Oracle, queries: Count = 10_000, shrink: Positive = 0.004, flip: Positive = 0.001, starts: Count = 100) -> None:
    """Shrinks the change and turns some of its signs, by turns, and keeps what still fools.

    At most `queries` questions on each row after a first success, for which at most `starts` ask about noise. `shrink` is the first step inwards
    in widths of the box and `flip` the first share of signs turned, one at least; both follow how often they succeed.
    """
    start = to_boundary(o, first_success(o, starts), 1e-2)
    whole = torch.zeros(len(o), dtype=torch.int64, device=start.device)
    s = o.rows(
        d=start - o.x, alpha=start.new_full((len(o),), shrink * o.ball.width), flip=start.new_full((len(o),), flip), in_=whole, turned=whole
    )
    for i in o.steps(queries):
        size = size_of(o, s.d)
        shrinks = i % 2 == 0
        new = _shrunk(o, s, size) if shrinks else _turned(o, s)
        won = o.fooled((o.x + new).clamp(*o.limits), kind="projection" if shrinks else "step")
        s.d = pick(won, new, s.d)
        if shrinks:
            s.in_ = s.in_ + won.long()
        else:
            s.turned = s.turned + won.long()
        if i % (2 * ROUNDS) == 2 * ROUNDS - 1:
            s.alpha = torch.minimum(_adapted(s.alpha, s.in_), size / 2)
            s.flip = _adapted(s.flip, s.turned).clamp_max(0.5)
            o.leave(s.alpha < LEAST * o.ball.width)
            s.in_, s.turned = torch.zeros_like(s.in_), torch.zeros_like(s.turned)


def _shrunk(o: Oracle, s: Rows, size: Tensor) -> Tensor:
    """A random sign of length alpha added to every feature, and the change cut to what it was less alpha."""
    alpha = torch.minimum(s.alpha, size / 2)
    noisy = torch.addcmul(s.d, o.noise.sign(*o.x.shape[1:]).to(s.d), per_row(alpha, s.d))
    return o.ball.cut(noisy, size - alpha, o.x.ndim - 1)


def _turned(o: Oracle, s: Rows) -> Tensor:
    """Some features with their signs turned, one at least: a turn of none would ask what is known."""
    lot = o.noise.uniform(*o.x.shape[1:]).to(s.d)
    least = -norms_of_rows(-1 + lot, INF, o.x.ndim - 1) + 1
    return torch.where(lot <= per_row(torch.maximum(s.flip, least), lot), -s.d, s.d)


def _adapted(length: Tensor, won: Tensor) -> Tensor:
    share = won / ROUNDS
    return torch.where(share > OFTEN, length * FACTOR, torch.where(share < SELDOM, length / FACTOR, length))
