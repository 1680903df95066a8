"""Every example is asked again before it counts: alone, in a fresh forward pass, in the model's own layout; then after rounding too."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vauban.campaign.plan import Plan
from vauban.doors import Aim, Oracle, Outcome
from vauban.doors.oracle.judge import CONFIRMATIONS
from vauban.doors.oracle.passes import Chunks
from vauban.geometry import per_row
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target, Torch
from vauban.threat import Perturbation

SILENT = -2
"""In place of an answer that was refused."""


@dataclass(frozen=True, eq=False)
class Held:
    """The examples that count, on the CPU, one a row: float32 (n, *shape), the clean input where there is none.

    Attributes:
        x: the examples.
        fools: bool (n,), whether it fooled the target when asked again.
        distance: float64 (n,), the size of the nearest one that fools, which may be another; inf where none is known.
        answers: int64 (n,), the target's answer to it.
    """

    x: Tensor
    fools: Tensor
    distance: Tensor
    answers: Tensor


class Asker:
    """Asks the target of an oracle again, outside every attack.

    Attributes:
        ids: the row ids, in the oracle's order.
        labels: int64 (n,) on the CPU, true classes.
    """

    def __init__(self, oracle: Oracle, plan: Plan, ids: Tensor, y: Tensor) -> None:
        self.oracle, self.plan, self.target = oracle, plan, plan.target
        self.ids: list[int] = ids.tolist()
        self.labels = y
        device = self.target.device
        self._aim = Aim.of_goal(oracle.threat.goal, y.to(device), oracle.classes, self.target.reject, ids.to(device))
        self._noise = RowNoise(ids.to(device), plan.seed)

    def verified(self, outcome: Outcome) -> Held:
        """Ask about the example that broke each row, and about the nearest one where that is another; where the first does not fool again
        and the second does, the second counts.

        The answers of a randomised target were already confirmed by a majority of fresh draws and are taken as they are. A target that refuses to
        answer again (a guard that knows the question) has answered once, to the very input that is kept: that answer counts.
        """
        known, size = outcome.nearest.cpu(), outcome.fell_distance.cpu()
        first, nearest = (t.detach().float().cpu() for t in (outcome.fell, outcome.best))
        other = known & (outcome.distance.cpu() < size)
        fools, answers = self.fools(first, known.nonzero()[:, 0], 1, "again")
        if self.target.refuses:
            fools, answers = self._silent(outcome, fools, answers)
        closer, said = self.fools(nearest, other.nonzero()[:, 0], 1, "again")
        if self.target.randomised:
            fools, closer = known, other
        instead = closer & ~fools
        x = torch.where(per_row(instead, first), nearest, first)
        distance = torch.where(closer, outcome.distance.cpu(), torch.where(fools, size, torch.inf))
        return Held(x, fools | closer, distance, torch.where(instead, said, answers))

    def _silent(self, outcome: Outcome, fools: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each example fools, and the answer to it, with the first answer where the second was refused."""
        silent = (answers == SILENT) & outcome.broken.cpu()
        return fools | silent, torch.where(silent, outcome.said.cpu(), answers)

    def rounded(self, x: Tensor, index: Tensor) -> dict[int, bool]:
        """For the rows `index`, whether the example still fools after rounding to 256 levels; nothing where the input is no such image."""
        levels = eight_bit(self.plan.data.kind, self.oracle.threat.perturbation)
        if levels is None or not len(index):
            return {}
        lo, width = levels
        x = x.clone()
        x[index] = ((x[index] - lo) * 255 / width).round() * width / 255 + lo
        fools, _ = self.fools(x, index, self.oracle.referee.chunks.most, "rounded")
        return {i: bool(fools[i]) for i in index.tolist()}

    def fools(self, x: Tensor, index: Tensor, batch: int, word: str) -> tuple[Tensor, Tensor]:
        """Whether the inputs (n, *shape) at `index` meet the goal strictly with finite scores, bool (n,), and the answers, int64 (n,).

        Of a randomised target, by the majority of fresh draws from the stream `word`.
        """
        met = torch.zeros(len(x), dtype=torch.bool)
        answers = torch.full((len(x),), -1)
        if not len(index):
            return met, answers
        draws = CONFIRMATIONS if self.target.randomised else 1

        def part(s: slice) -> tuple[Tensor, Tensor]:
            rows = index[s]
            return self._vote(x[rows].to(self.target.device), rows.to(self.target.device), draws, word)

        with plain_layout(self.target), self.target.held():
            won, said = Chunks(batch).run(len(index), part)
        if won is not None and said is not None:
            met[index], answers[index] = won.cpu(), said.cpu()
        return met, answers

    def _vote(self, x: Tensor, rows: Tensor, draws: int, word: str) -> tuple[Tensor, Tensor]:
        aim, noise = self._aim.take(rows), self._noise.fork(word).take(rows)
        won = torch.zeros(len(x), device=x.device)
        votes = torch.zeros((len(x), self.oracle.classes), device=x.device)
        refused = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for k in range(draws):
            z = self.oracle.referee.scores(x, noise.at(torch.full_like(rows, k)) if self.target.randomised else None)
            won += ((aim.margin(z) > 0) & torch.isfinite(z).all(1)).float()
            votes += torch.nn.functional.one_hot(z.nan_to_num().argmax(1), self.oracle.classes)
            refused = torch.isnan(z).all(1) & self.target.refuses
        return won / draws > 0.5, torch.where(refused, SILENT, votes.argmax(1))


def eight_bit(kind: str, perturbation: Perturbation) -> tuple[float, float] | None:
    """The lowest value and the width of the box of a threat, where it is that of 8-bit images; None where it is not."""
    lo, hi = perturbation.lo, perturbation.hi
    if kind != "image" or isinstance(lo, tuple) or isinstance(hi, tuple) or hi - lo not in (1.0, 255.0):
        return None
    return lo, hi - lo


def parts_of(model: Surrogate) -> Iterator[Surrogate]:
    """A target or surrogate and those inside it: behind a restriction, a step before the model, members of a committee. Each once."""
    seen: dict[int, Surrogate] = {}

    def walk(one: Surrogate) -> None:
        if id(one) in seen:
            return
        seen[id(one)] = one
        for value in attributes(one):
            if isinstance(value, Surrogate):
                walk(value)

    walk(model)
    yield from seen.values()


def attributes(holder: object) -> list[Any]:
    """The values of an object's attributes, those of lists and tuples one by one."""
    found: list[Any] = []
    for value in vars(holder).values():
        found += value if isinstance(value, tuple | list) else [value]
    return found


@contextmanager
def plain_layout(target: Target) -> Generator[None]:
    """Convolutions in the layout their model came in, instead of the faster one that attacks use: rounding differs between the two."""
    laid = [t for t in parts_of(target) if isinstance(t, Torch) and t.channels_last]
    try:
        for part in laid:
            part.channels_last = False
        yield
    finally:
        for part in laid:
            part.channels_last = True
