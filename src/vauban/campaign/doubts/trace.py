"""What an attack meets on its way: how far each answer was from success, gradients that were zero, answers that were refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vauban.doors import Oracle
from vauban.doors.oracle.book import Attempt
from vauban.doors.oracle.desk import Batch, Desk, Question, Reply
from vauban.doors.oracle.view import View

NAN = float("nan")
EVERY = 4
"""Of how many answers that served a gradient one is asked for again without."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What an attack met on n rows, in t questions on the row that was asked most. On the CPU; NaN where there was no such question.

    Attributes:
        broken: bool (n,), rows that fell.
        margin: float64 (t, n), the best winning score minus the best losing one.
        flat: float64 (t, n), 1 where the gradient was zero in every feature (or no number), 0 where it was not.
        point: (n, *shape), the last point of each row that would have won had the target not refused to answer.
        refused: bool (n,), rows that have one.
        missed: bool (n,), rows where the target, asked without gradient about a point it gave one for, was fooled, and that did not fall.
    """

    broken: Tensor
    margin: Tensor
    flat: Tensor
    point: Tensor
    refused: Tensor
    missed: Tensor

    @property
    def best(self) -> Tensor:
        """The best margin until each question, float64 (t, n); -inf where there is none yet."""
        return self.margin.nan_to_num(-torch.inf).cummax(0).values


@dataclass(eq=False)
class Notes:
    """What is written down on the way, one entry a pass."""

    rows: list[Tensor] = field(default_factory=list[Tensor])
    margin: list[Tensor] = field(default_factory=list[Tensor])
    flat: list[Tensor] = field(default_factory=list[Tensor])


class Recorder(Desk):
    """The desk of an oracle, with somebody who takes notes."""

    def __init__(self, oracle: Oracle) -> None:
        desk = oracle.desk
        super().__init__(desk.target, desk.surrogate, desk.referee, desk.chunks, desk.book)
        self.notes, self.reject, self.turns = Notes(), desk.target.reject, 0
        start, n = oracle.book.best, len(oracle.book.broken)
        self.point, self.refused = start.clone(), torch.zeros(n, dtype=torch.bool, device=start.device)
        self.fooled = torch.zeros_like(self.refused)

    def run(self, view: View, batch: Batch, q: Question, attempt: Attempt) -> Reply:
        """The answers, as the desk gives them."""
        reply = super().run(view, batch, q, attempt)
        rows = view.index if batch.rows is None else view.index[batch.rows]
        blank = torch.full((len(rows),), NAN, dtype=torch.float64)
        margin = blank if reply.z is None else batch.aim.margin(reply.z).cpu().double()
        flat = blank if reply.gradient is None else (reply.gradient.flatten(1) == 0).all(1).cpu().double()
        for notes, values in zip((self.notes.rows, self.notes.margin, self.notes.flat), (rows.cpu(), margin, flat), strict=True):
            notes.append(values)
        if reply.z is not None:
            self._note_refusals(rows, batch, reply.z)
            self._ask_again(rows, batch, reply)
        return reply

    def _note_refusals(self, rows: Tensor, batch: Batch, z: Tensor) -> None:
        """Points that win among the classes and are refused."""
        if self.reject is None:
            return
        without = z.index_fill(1, torch.tensor([self.reject], device=z.device), -torch.inf)
        hit = ((batch.aim.margin(without) > 0) & (batch.aim.margin(z) <= 0) & self._legal(batch)).nonzero()[:, 0]
        self.point[rows[hit]] = batch.v[hit]
        self.refused[rows[hit]] = True

    def _ask_again(self, rows: Tensor, batch: Batch, reply: Reply) -> None:
        """Now and then, where one pass served truth and gradient, ask the target plainly about the same points."""
        self.turns += 1
        if not self.same or reply.z is None or reply.gradient is None or self.turns % EVERY != 1:
            return
        plain = self.referee.ask(batch.x, batch.v, None)
        clearly = 1e-4 * torch.nan_to_num(plain).std()
        self.fooled[rows[(batch.aim.margin(plain) > clearly) & torch.isfinite(plain).all(1) & self._legal(batch)]] = True

    def _legal(self, batch: Batch) -> Tensor:
        """Points within the threat's radius; the search of a minimum-norm attack goes beyond it."""
        body = self.referee.body
        return (body.distance(self.space.start(batch.x), batch.v) <= body.eps + body.tolerance).to(batch.v.device)


def trace(oracle: Oracle, attack: Callable[[Oracle], None]) -> Trace:
    """Run an attack on the fresh ground of an oracle, and tell what it met."""
    recorder = Recorder(oracle)
    oracle.desk = recorder
    attack(oracle)
    broken, notes = oracle.outcome.broken.cpu(), recorder.notes
    n = len(broken)
    rows = torch.cat([*notes.rows, torch.zeros(0, dtype=torch.int64)])
    margin, flat = (_columns(rows, torch.cat([*values, torch.zeros(0, dtype=torch.float64)]), n) for values in (notes.margin, notes.flat))
    return Trace(broken, margin, flat, recorder.point.cpu(), recorder.refused.cpu(), recorder.fooled.cpu() & ~broken)


def _columns(rows: Tensor, values: Tensor, n: int) -> Tensor:
    """One column a row: its values in the order they came, NaN where it has fewer than others; (t, n).

    >>> _columns(torch.tensor([0, 1, 0]), torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([[1., 2.],
            [3., nan]])
    """
    order, counts = rows.argsort(stable=True), torch.bincount(rows, minlength=n)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows[order]]
    found = values.new_full((int(counts.max()) if n else 0, n), NAN)
    found[place, rows[order]] = values[order]
    return found
