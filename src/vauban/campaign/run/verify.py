"""Every example is asked again before it counts: alone, in a fresh forward pass, in the model's own layout; then after rounding too."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, eq=False)
class Held:
    """The examples that count, on the CPU, one a row: float32 (n, *shape), the clean input where there is none.

    Attributes:
        x: the examples.
        fools: bool (n,), whether it fooled the target when asked again.
        distance: float64 (n,), its size; inf where none is known.
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

    def verified(self, outcome: Outcome, spare: Outcome | None) -> Held:
        """Ask about the nearest example of every row; where it does not fool again, about the one in `spare`.

        The answers of a randomised target were already confirmed by a majority of fresh draws and are taken as they are.
        """
        known = outcome.nearest.cpu()
        x = outcome.best.detach().float().cpu()
        fools, answers = self.fools(x, known.nonzero()[:, 0], 1, "again")
        held = Held(x, known if self.target.randomised else fools, outcome.distance.cpu(), answers)
        if spare is not None:
            held = self._fallen_back(held, spare, known & ~held.fools & spare.broken.cpu())
        return replace(held, distance=torch.where(known & ~held.fools, torch.inf, held.distance))

    def _fallen_back(self, held: Held, spare: Outcome, lost: Tensor) -> Held:
        """The examples in `spare` instead of the lost ones, asked again too."""
        if not bool(lost.any()):
            return held
        x = torch.where(per_row(lost, held.x), spare.best.detach().float().cpu(), held.x)
        again, said = self.fools(x, lost.nonzero()[:, 0], 1, "again")
        distance = torch.where(lost, spare.distance.cpu(), held.distance)
        return Held(x, held.fools | again, distance, torch.where(lost, said, held.answers))

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
        for k in range(draws):
            z = self.oracle.referee.scores(x, noise.at(torch.full_like(rows, k)) if self.target.randomised else None)
            won += ((aim.margin(z) > 0) & torch.isfinite(z).all(1)).float()
            votes += torch.nn.functional.one_hot(z.nan_to_num().argmax(1), self.oracle.classes)
        return won / draws > 0.5, votes.argmax(1)


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
