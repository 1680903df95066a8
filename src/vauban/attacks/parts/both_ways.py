"""A walk that tries a change, then its opposite, and keeps the first that raises the objective."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.select import pick
from vauban.doors import Oracle


class BothWays:
    """Each row tries x + change; if that did not raise its objective, x - change; then it wants a new change. One question a turn and row,
    whatever its phase, so that every call is full.

    Args:
        o: the oracle.
        x: float (n, *shape), where the walk begins.
        value: float (n,), the objective there.
    """

    def __init__(self, o: Oracle, x: Tensor, value: Tensor) -> None:
        yes = torch.ones(len(x), dtype=torch.bool, device=x.device)
        self.o, self.s = o, o.rows(x=x, value=value, change=torch.zeros_like(x), point=x, back=~yes, fresh=yes)

    @property
    def fresh(self) -> Tensor:
        """Which rows want a new change, bool (n,)."""
        return self.s.fresh

    def aim(self, change: Tensor) -> None:
        """Give the rows that want one a new change, float (n, *shape)."""
        s = self.s
        s.change = pick(s.fresh, change, s.change)
        s.fresh = torch.zeros_like(s.fresh)

    def propose(self) -> tuple[Tensor, Tensor]:
        """The points to ask, float (n, *shape), legal; and where they differ from where the walk stands, bool (n,): elsewhere the answer is
        known, and no question is due."""
        s = self.s
        s.point = self.o.project(s.x + pick(s.back, -s.change, s.change))
        return s.point, (s.point != s.x).flatten(1).any(1)

    def told(self, value: Tensor) -> Tensor:
        """Take the answers, float (n,), -inf where there is none; which rows went on, bool (n,)."""
        s = self.s
        won = value > s.value
        s.x, s.value = pick(won, s.point, s.x), torch.where(won, value, s.value)
        s.fresh, s.back = won | s.back, ~won & ~s.back
        return won
