"""The attacker's goal in tensors: for each answer, which classes win and which lose. Objectives are always to be raised."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vauban.errors import BadPlan
from vauban.threat import Goal

INF = math.inf
FEW = 4


@dataclass(frozen=True, eq=False)
class Aim:
    """The goal for a batch of answers.

    Attributes:
        y: int64 (n,), true classes.
        wins: bool (n, classes), the classes whose being answered is a success.
        anchor: int64 (n,), the class that cross-entropy is about: the true one, or the wanted one.
        wanted: whether the anchor is to be reached rather than left.
        rows: int64 (n,), for each answer its row in the attack's state, or None when they are the same in the same order.
        reject: the column that means "no answer", where being answered it is no success; None where there is none or it is one.
    """

    y: Tensor
    wins: Tensor
    anchor: Tensor
    wanted: bool
    rows: Tensor | None = None
    reject: int | None = None

    @classmethod
    def of_goal(cls, goal: Goal, y: Tensor, classes: int, reject: int | None, ids: Tensor) -> Aim:
        """The goal for rows with true classes y; `ids` are their places in a goal that wants one class for each input."""
        columns = torch.arange(classes, device=y.device)
        if goal.wanted is None:
            wins = columns != y[:, None]
            if reject is not None and not goal.reject_wins:
                wins = wins & (columns != reject)
            return cls(y, wins, y, wanted=False, reject=None if goal.reject_wins else reject)
        want = _wanted(goal.wanted, y, classes, ids)
        wins = columns == want[:, None]
        if reject is not None and goal.reject_wins:
            wins = wins | (columns == reject)
        return cls(y, wins, want, wanted=True, reject=None if goal.reject_wins else reject)

    @cached_property
    def loses(self) -> Tensor:
        """bool (n, classes): the complement of `wins`."""
        return ~self.wins

    @cached_property
    def _winners(self) -> list[list[bool]]:
        return self.wins.tolist()

    def out_of_reach(self, z: Tensor) -> bool:
        """Whether it is plain that no answer is a success, and that all are finite. A cheap look, not the verdict: see `margin`."""
        if z.shape[0] > FEW:
            answered = self.wins.gather(1, z.argmax(1, keepdim=True))
            return not bool(answered.any()) and math.isfinite(float(z.sum()))
        # for a few answers a walk in Python costs less than four kernel launches
        answers: list[list[float]] = z.tolist()
        if not math.isfinite(sum(map(sum, answers))):
            return False
        return not any(wins[row.index(max(row))] for row, wins in zip(answers, self._winners, strict=True))

    def take(self, index: Tensor | slice, rows: Tensor | None = None) -> Aim:
        """The aim of some answers."""
        return Aim(self.y[index], self.wins[index], self.anchor[index], self.wanted, rows, self.reject)

    def of(self, values: Tensor) -> Tensor:
        """Per-row constants of the attack (rows, ...), one for each answer."""
        return values if self.rows is None else values[self.rows]

    def margin(self, z: Tensor) -> Tensor:
        """The best winning score minus the best losing one (n,): positive exactly when the goal is met. NaN if any score is."""
        return z.masked_fill(self.loses, -INF).amax(1) - z.masked_fill(self.wins, -INF).amax(1)

    def best_loser(self, z: Tensor) -> Tensor:
        """The losing class with the highest score, int64 (n,)."""
        return z.masked_fill(self.wins, -INF).argmax(1)

    def best_winner(self, z: Tensor) -> Tensor:
        """The winning class with the highest score, int64 (n,)."""
        return z.masked_fill(self.loses, -INF).argmax(1)

    def cross_entropy(self, z: Tensor) -> Tensor:
        """Cross-entropy of the true class, or minus that of the wanted class, (n,)."""
        loss = torch.nn.functional.cross_entropy(z, self.anchor, reduction="none")
        return -loss if self.wanted else loss


Loss = Callable[[Aim, Tensor], Tensor]
"""An objective, always to be raised: the aim of some answers and their scores (n, classes), to values (n,)."""


def _wanted(wanted: int | tuple[int, ...], y: Tensor, classes: int, ids: Tensor) -> Tensor:
    if isinstance(wanted, int):
        want = torch.full_like(y, wanted)
    else:
        if int(ids.max()) >= len(wanted):
            raise BadPlan(f"goal: {len(wanted)} wanted classes, and rows up to number {int(ids.max())}; give one for each row")
        want = torch.tensor(wanted, device=y.device)[ids]
    if bool(((want < 0) | (want >= classes)).any()):
        raise BadPlan(f"goal: wanted class {int(want.max())} does not exist; the target has classes 0 to {classes - 1}")
    return want
