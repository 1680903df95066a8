"""The accounts of one attacker: what it spent on every row, and the best verified example it has of each."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from vauban.errors import BrokenCertificate

INF = math.inf
Kind = Literal["initial", "gradient", "step", "projection", "check"]
"""What a question is for: to find a first success to start from, to learn a direction, to try a step, to come nearer to the boundary, or to hand
in a candidate."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(eq=False)
class Attempt:
    """What one attack of a cascade spent and won; the oracle keeps it while the attack runs.

    Attributes:
        name: the attack's label.
        rows: int64, indices of the rows it was run on.
        before: bool (all rows), which rows were already broken when it began.
        start: int64 (all rows), questions asked on each row before it began.
        forwards, backwards, surrogate_forwards, surrogate_backwards: passes, in rows, summed over rows.
        seconds: wall-clock time.
        stopped: why it ended early, if it did.
        proved: rows it proved robust.
    """

    name: str
    rows: Tensor
    before: Tensor
    start: Tensor
    forwards: int = 0
    backwards: int = 0
    surrogate_forwards: int = 0
    surrogate_backwards: int = 0
    seconds: float = 0.0
    stopped: str = ""
    proved: int = 0
    began: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attacker achieved, one entry a row, in the order the rows were given. The tensors are the book's own: clone what is to stay
    as it is while attacks go on.

    Attributes:
        best: (n, *shape), the nearest verified adversarial input of each broken row; the clean input for the others.
        distance: float64 (n,), its size in the threat's norm; 0 where the clean input already errs, inf where none is known.
        fell: (n, *shape), the example that broke each row, where attacks went on to find a nearer one; the same as `best` elsewhere.
        fell_distance: float64 (n,), its size.
        proved: bool (n,), rows of which it is proven that nothing within the threat's radius is a success.
        broken: bool (n,), whether one was verified within the threat's radius (or, untargeted, the clean answer is not the right one).
        nearest: bool (n,), whether any is known at all, within the radius or beyond it.
        eligible: bool (n,), rows in the denominator.
        attacked: bool (n,), rows that were attacked at all.
        correct: bool (n,), rows whose clean answer is right.
        answers: int64 (n,), clean answers.
        queries, gradients: int64 (n,), what each row was charged.
        first: int64 (n,), which of a row's questions won first (1 is the first), or -1.
        taken: int64 (n,), gradients of the target taken on the row up to then, or -1.
        said: int64 (n,), the class that was answered to the example that broke each row, or -1.
        kinds: for each kind of question, int64 (n,), how many of `queries` were of it.
        refused: int64 (n,), how many of `queries` got no answer.
        by: int64 (n,), the attack of the cascade that broke it, or -1.
        share: float (n,), for a randomised target, the share of fresh draws that the kept example fooled; 1 otherwise.
    """

    best: Tensor
    distance: Tensor
    fell: Tensor
    fell_distance: Tensor
    broken: Tensor
    nearest: Tensor
    eligible: Tensor
    attacked: Tensor
    correct: Tensor
    answers: Tensor
    queries: Tensor
    gradients: Tensor
    first: Tensor
    by: Tensor
    share: Tensor
    proved: Tensor
    taken: Tensor
    said: Tensor
    kinds: dict[str, Tensor]
    refused: Tensor

    @property
    def standing(self) -> Tensor:
        """bool (n,): eligible rows that withstood everything."""
        return self.eligible & ~self.broken


class Book:
    """The accounts of all rows. Columns are tensors of one entry a row on the target's device.

    Args:
        start: the variable at the clean rows.
        eligible, attacked, correct, answers, wrong: what the clean answers came to.
        goes_on: whether a row that fell may get a nearer example later, so that the one that broke it is kept apart.
    """

    def __init__(
        self, start: Tensor, eligible: Tensor, attacked: Tensor, correct: Tensor, answers: Tensor, wrong: Tensor, *, goes_on: bool = False
    ) -> None:
        n, device = len(start), start.device
        self.eligible, self.attacked, self.correct, self.answers = eligible, attacked, correct, answers
        self.queries = torch.zeros(n, dtype=torch.int64, device=device)
        self.gradients = torch.zeros_like(self.queries)
        self.best = start.clone()
        self.distance = torch.full((n,), INF, dtype=torch.float64, device="cpu" if device.type == "mps" else device)
        self.distance[wrong.to(self.distance.device)] = 0.0
        self.fell = start.clone() if goes_on else self.best
        self.fell_distance = self.distance.clone() if goes_on else self.distance
        self.broken = wrong.clone()
        self.first = torch.full_like(self.queries, -1)
        self.first[wrong] = 0
        self.taken = self.first.clone()
        self.by = torch.full_like(self.queries, -1)
        self.said = torch.full_like(self.queries, -1)
        self.share = torch.ones(n, device=device)
        self.proved = torch.zeros_like(wrong)
        self.kinds: dict[str, Tensor] = {kind: torch.zeros_like(self.queries) for kind in KINDS}
        self.refused = torch.zeros_like(self.queries)
        self.nonfinite = torch.zeros(n, dtype=torch.bool, device=device)
        self.bad_gradient = torch.zeros(n, dtype=torch.bool, device=device)
        self.declined = torch.zeros(n, dtype=torch.bool, device=device)
        self.attempts: list[Attempt] = []

    def place(self, attempt: Attempt) -> int:
        """Which attack of the cascade this is, or -1 outside any."""
        return next((i for i, other in enumerate(self.attempts) if other is attempt), -1)

    def keep(
        self,
        rows: Tensor,
        v: Tensor,
        distance: Tensor,
        number: Tensor,
        share: Tensor,
        *,
        eps: float,
        by: int,
        taken: Tensor | None = None,
        said: Tensor | None = None,
    ) -> bool:
        """Enter verified examples, one for each of `rows`; returns whether any of them newly broke its row."""
        nearer = distance < self.distance[rows.to(self.distance.device)]
        if not bool(nearer.any()):
            return False
        rows, v, distance, number, share = (t[nearer.to(t.device)] for t in (rows, v, distance, number, share))
        self.distance[rows.to(self.distance.device)] = distance
        self.best[rows] = v
        self.share[rows] = share
        won = (distance <= eps).to(rows.device) & ~self.broken[rows]
        fresh = rows[won]
        if bool(self.proved[fresh].any()):
            row = int(fresh[self.proved[fresh]][0])
            raise BrokenCertificate(
                f"row {row} was proven robust and then broken at distance {float(distance[won.to(distance.device)].min()):g}: a fault in Vauban, "
                "please report it with the model; nothing of this run can be trusted"
            )
        self.broken[fresh] = True
        self.first[fresh] = number[won]
        if taken is not None:
            self.taken[fresh] = taken[nearer.to(taken.device)][won]
        if said is not None:
            self.said[fresh] = said[nearer.to(said.device)][won]
        self.by[fresh] = by
        if self.fell is not self.best:
            self.fell[fresh] = v[won]
            self.fell_distance[fresh.to(self.distance.device)] = distance[won.to(distance.device)]
        return len(fresh) > 0
