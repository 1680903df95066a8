"""Where questions are answered: which of them may be asked, the passes of target and surrogate, and answers put back in their places."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vauban.doors.oracle.aim import Aim, Loss
from vauban.doors.oracle.book import Attempt, Book, Kind
from vauban.doors.oracle.judge import Referee, Win
from vauban.doors.oracle.passes import Chunks, gradient_of
from vauban.doors.oracle.view import FOREVER, View
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target

CLEARLY = 2.0**-16
"""By how much, relatively, a float32 norm must exceed a kept distance to be larger beyond doubt."""


class Question(NamedTuple):
    """What an attack asks at once.

    Attributes:
        v: (*lead, n, *shape), the variables; leading dimensions are several questions on each row.
        where: bool (n,) or (*lead, n), what of it is asked; None for all.
        loss: the objective wanted of each answer; None when only the verdict matters.
        trailing: the shape of one row's value: () or (k,).
        gradients: gradients wanted of each question; 0 for none.
        truth: whether the target answers (charged and judged), or only a surrogate of the attacker's own.
        charged: gradients of the target that each question costs.
        believe: whether the attack wants to know if it fooled the target, were it only by the surrogate.
        kind: what it is for, in the ledger: for all, or for each row its place in `KINDS`, int64 (n,).
    """

    v: Tensor
    where: Tensor | None = None
    loss: Loss | None = None
    trailing: tuple[int, ...] = ()
    gradients: int = 0
    truth: bool = True
    charged: int = 0
    believe: bool = False
    kind: Kind | Tensor = "step"


class Batch(NamedTuple):
    """The questions that are really asked: variables (m, *shape), clean inputs, aim, and where each came from.

    `rows` (indices into the view) and `slot` (places in the answer) are None when the batch is the whole view in order.
    """

    v: Tensor
    x: Tensor
    aim: Aim
    rows: Tensor | None
    slot: Tensor | None
    number: Tensor | None
    turn: Tensor | None


class Reply(NamedTuple):
    """Scores of the target (m, classes), values (m, *trailing) and gradients (m, *trailing, *shape), as far as they were wanted; and by how much
    a surrogate is fooled, (m,), where the target was not asked."""

    z: Tensor | None
    value: Tensor | None
    gradient: Tensor | None
    margin: Tensor | None


class Desk:
    """Runs batches of questions against a target and a surrogate, and enters the cost."""

    def __init__(self, target: Target, surrogate: Surrogate | None, referee: Referee, chunks: Chunks, book: Book) -> None:
        self.target, self.surrogate, self.referee, self.chunks, self.book = target, surrogate, referee, chunks, book
        self.space = referee.space
        self.same = surrogate is target and not target.randomised
        """Whether one forward pass serves both the truth and the gradient."""
        self.rough = target.rough if self.same else 0.0
        self._again = 0
        self.missing: Tensor | None = None

    # ---- what is asked --------------------------------------------------------------------------------------------------------------

    def batch(self, view: View, q: Question) -> Batch:
        """What of a question is asked: rows that are live, marked and within budget, trimmed to the last question. Charged here."""
        lead = q.v.shape[: q.v.ndim - view.v0.ndim]
        if not lead and q.where is None and view.charge(q.truth, q.charged, q.kind):
            return Batch(self._received(q, q.v, view.x), view.x, view.aim, None, None, None, None)
        return self._some(view, q, math.prod(lead))

    def _some(self, view: View, q: Question, probes: int) -> Batch:
        n = len(view)
        ask = view.live if q.where is None else view.live & q.where
        ask = ask.expand(probes, n) if ask.ndim == 1 else ask.reshape(probes, n)
        order = ask.cumsum(0)
        if q.truth:
            left = view.queries.left
            if q.charged:
                left = torch.minimum(left, view.gradients.left // q.charged)
            ask = ask & (order <= left)
        slot = ask.flatten().nonzero()[:, 0]
        rows = slot % n
        nth = order.flatten()[slot]
        number, turn = view.queries.spent[rows] + nth, view.passes.spent[rows] + nth
        view.passes.charge_some(rows, 1)
        if q.truth:
            view.queries.charge_some(rows, 1)
            view.enter(q.kind, rows)
            view.gradients.charge_some(rows, q.charged)
        x = view.x[rows]
        v = self._received(q, q.v.reshape(probes * n, *view.v0.shape[1:])[slot], x)
        return Batch(v, x, view.aim.take(rows, rows), rows, slot, number, turn)

    def _received(self, q: Question, v: Tensor, x: Tensor) -> Tensor:
        """The variables as the target receives them, so that what is asked, judged and kept is one point; the attack goes on from its own."""
        return self.target.wire(v, x) if q.truth and self.space.identity else v

    # ---- the answers ----------------------------------------------------------------------------------------------------------------

    def run(self, view: View, batch: Batch, q: Question, attempt: Attempt) -> Reply:
        """The passes, in chunks that fit."""
        draws = self._draws(view, batch)

        def part(s: slice) -> tuple[Tensor | None, ...]:
            return self._part(batch, q, s, draws)

        m = batch.v.shape[0]
        z, value, gradient, margin = self.chunks.run(m, part)
        self._count(attempt, m, q)
        if gradient is not None and not math.isfinite(float(gradient.sum())):
            gradient = self._finite(view, batch.rows, gradient)
        return Reply(z, value, gradient, margin)

    def _part(self, batch: Batch, q: Question, s: slice, draws: RowNoise | None) -> tuple[Tensor | None, ...]:
        whole = s.stop - s.start == batch.v.shape[0]
        v, x = (batch.v, batch.x) if whole else (batch.v[s], batch.x[s])
        aim = batch.aim if whole else _part_of(batch, s)
        draw = None if draws is None else draws.take(torch.arange(s.start, s.stop, device=v.device))
        if not q.gradients:
            z = self._seen(x, v, draw, truth=q.truth)
            return z if q.truth else None, None if q.loss is None else q.loss(aim, z), None, None
        soft, value, gradient = self._differentiated(x, v, aim, q.loss or Aim.cross_entropy, draw)
        if q.truth:
            return self._truth(x, v, soft, aim, draw), value, gradient, None
        return None, value, gradient, aim.margin(soft) if q.believe else None

    def _seen(self, x: Tensor, v: Tensor, draw: RowNoise | None, *, truth: bool) -> Tensor:
        """Scores without a gradient, of the target or of the attacker's surrogate."""
        surrogate = self.surrogate or self.target
        if truth or surrogate is self.target:
            return self.referee.scores(self.space.decode(x, v), draw)
        with torch.no_grad():
            return self.referee.checked(surrogate.smooth(self.space.decode(x, v), draw), v.shape[0], surrogate)

    def _truth(self, x: Tensor, v: Tensor, soft: Tensor, aim: Aim, draw: RowNoise | None) -> Tensor:
        """The target's scores, where the surrogate's are not already those; in lower precision only a doubtful answer is asked again."""
        if not self.same:
            return self.referee.scores(self.space.decode(x, v), draw)
        if not self.rough:
            return soft
        near = (aim.margin(soft) >= -self.rough * (soft.amax(1) - soft.amin(1))).nonzero()[:, 0]
        if not near.shape[0]:
            return soft
        self._again += near.shape[0]
        return soft.index_copy(0, near, self.referee.scores(self.space.decode(x[near], v[near]), draw).to(soft.dtype))

    def _differentiated(self, x: Tensor, v: Tensor, aim: Aim, loss: Loss, draw: RowNoise | None) -> tuple[Tensor, Tensor, Tensor]:
        """One pass of the surrogate and back: its scores, the objective and its gradient in v."""
        if not torch.is_grad_enabled():
            with torch.enable_grad():
                return self._differentiated(x, v, aim, loss, draw)
        surrogate = self.surrogate or self.target
        leaf = v.detach().requires_grad_()
        soft = self.referee.checked(surrogate.smooth(self.space.decode(x, leaf), draw), v.shape[0], surrogate)
        value = loss(aim, soft)
        gradient = gradient_of(value, leaf)
        return soft.detach(), value.detach(), gradient

    def _draws(self, view: View, batch: Batch) -> RowNoise | None:
        """Noise for what is random, one stream for each question on each row."""
        if not (self.target.randomised or getattr(self.surrogate, "randomised", True)):
            return None
        noise = view.noise.fork("draw")
        if batch.rows is None or batch.turn is None:
            return noise.at(view.passes.spent)
        return noise.take(batch.rows).at(batch.turn)

    def _count(self, attempt: Attempt, rows: int, q: Question) -> None:
        attempt.forwards, self._again = attempt.forwards + self._again, 0
        own = self.surrogate is not None and self.surrogate.access == 0
        passes = 1 if self.surrogate is None else self.surrogate.passes
        if not q.gradients and (q.truth or not own):
            attempt.forwards += rows
        elif not q.gradients:
            attempt.surrogate_forwards += rows * passes
        elif own:
            attempt.surrogate_forwards += rows * passes
            attempt.surrogate_backwards += rows * passes * q.gradients
            attempt.forwards += rows * int(q.truth)
        else:
            attempt.forwards += rows * (passes if self.same else passes + int(q.truth))
            attempt.backwards += rows * passes * q.gradients

    def _finite(self, view: View, rows_asked: Tensor | None, gradient: Tensor) -> Tensor:
        """Gradients without NaN and infinity: such entries point nowhere. The rows are noted for a doubt."""
        bad = ~torch.isfinite(gradient)
        rows = bad.flatten(1).any(1)
        where = view.index if rows_asked is None else view.index[rows_asked]
        self.book.bad_gradient[where[rows]] = True
        return torch.where(bad, 0.0, gradient)

    # ---- the verdict ----------------------------------------------------------------------------------------------------------------

    def judge(self, view: View, batch: Batch, z: Tensor, attempt: Attempt) -> tuple[Tensor, bool]:
        """Which questions (m,) fooled the target, verified, and whether a row was newly broken. The examples are kept."""
        if self.target.refuses:
            z = self._answered(view, batch, z)
        if batch.aim.reject is not None:
            self._note_declined(view, batch, z, batch.aim.reject)
        if batch.aim.out_of_reach(z):
            return z.new_zeros(z.shape[0], dtype=torch.bool), False
        met = batch.aim.margin(z) > 0
        if not math.isfinite(float(z.sum())):
            met &= self._finite_scores(view, batch, z)
        if not bool(met.any()):
            return met, False
        rows = torch.arange(len(view), device=z.device) if batch.rows is None else batch.rows
        idle = self._idle(view, batch, met, rows)
        if idle is not None:
            met = met & ~idle
            if not bool(met.any()):
                return idle, False
        noise = view.noise.fork("judge").take(rows) if self.target.randomised else None
        win = self.referee.verify(batch.x, batch.v, met, batch.aim, noise, view.body)
        newly, fooled = False, win.index
        if win.index.shape[0]:
            number = (view.queries.spent if batch.number is None else batch.number)[win.index]
            if batch.rows is not None:
                number, win = _one_a_row(rows[win.index], number, win, self.referee.body.eps, len(view))
            by = self.book.place(attempt)
            of = rows[win.index]
            said, eps = z[win.index].argmax(1), self.referee.body.eps
            newly = self.book.keep(
                view.index[of], win.v, win.distance, number, win.share, eps=eps, by=by, taken=view.gradients.spent[of], said=said
            )
        verified = torch.zeros_like(met).index_fill(0, fooled, value=True)
        return verified if idle is None else verified | idle, newly

    def _answered(self, view: View, batch: Batch, z: Tensor) -> Tensor:
        """The scores, with those that the target did not give, charged all the same, as a tie; the ledger of each row says how many."""
        missing = torch.isnan(z).all(1)
        self.missing = missing
        if not bool(missing.any()):
            return z
        rows = view.index if batch.rows is None else view.index[batch.rows]
        self.book.refused.index_add_(0, rows[missing], torch.ones_like(rows[missing]))
        return torch.where(missing[:, None], 0.0, z)

    def _idle(self, view: View, batch: Batch, met: Tensor, rows: Tensor) -> Tensor | None:
        """Successes of a search without a radius that need no closer look, bool (m,): inside the box, and no nearer than what is kept already.

        None where that is not plain. Most answers of a minimum-norm attack are of this kind.
        """
        if view.body.eps < math.inf or self.target.randomised or not view.body.holds(batch.v):
            return None
        size = view.body.norm(batch.v - self.space.start(batch.x), view.v0.ndim - 1)
        kept = self.book.distance[view.index[rows]].to(size)
        return met & (size > kept * (1 + CLEARLY))

    def _note_declined(self, view: View, batch: Batch, z: Tensor, reject: int) -> None:
        """Note the rows on which nothing but a rejection kept an answer from being a success."""
        said = z.index_fill(1, torch.tensor([reject], device=z.device), -math.inf).argmax(1, keepdim=True)
        only = (z.argmax(1) == reject) & batch.aim.wins.gather(1, said)[:, 0]
        if bool(only.any()):
            self.book.declined[(view.index if batch.rows is None else view.index[batch.rows])[only]] = True

    def _finite_scores(self, view: View, batch: Batch, z: Tensor) -> Tensor:
        """Which answers are finite; the rows of the others are noted for a doubt."""
        finite = torch.isfinite(z).all(1)
        where = view.index if batch.rows is None else view.index[batch.rows]
        self.book.nonfinite[where[~finite]] = True
        return finite


def _part_of(batch: Batch, s: slice) -> Aim:
    """The aim of a slice; its answers know their rows in the attack's state."""
    rows = torch.arange(s.start, s.stop, device=batch.v.device) if batch.rows is None else batch.rows[s]
    return batch.aim.take(s, rows)


def _one_a_row(rows: Tensor, number: Tensor, win: Win, eps: float, n: int) -> tuple[Tensor, Win]:
    """Of the wins of each row its nearest, with the number of the first that won within the radius."""
    number = _first_of_row(rows, number, win.distance.to(number.device) <= eps, n)
    best = _nearest_of_row(rows, win.distance)
    return number[best], Win(win.index[best], win.v[best], win.distance[best.to(win.distance.device)], win.share[best])


def _nearest_of_row(rows: Tensor, distance: Tensor) -> Tensor:
    """Of several examples of one row the nearest, the first asked where they tie: indices into `rows`."""
    order = torch.sort(distance.to(rows.device), stable=True).indices
    by_row = order[torch.sort(rows[order], stable=True).indices]
    ordered = rows[by_row]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return by_row[first]


def _first_of_row(rows: Tensor, number: Tensor, within: Tensor, n: int) -> Tensor:
    """For each example, which question was the first to win its row within the radius; its own number where none did."""
    first = number.new_full((n,), FOREVER).scatter_reduce(0, rows[within], number[within], "amin")[rows]
    return torch.where(first < FOREVER, first, number)


def scattered(batch: Batch, part: Tensor | None, blank: Tensor) -> Tensor:
    """Answers (m, ...) in their places of `blank` (*lead, rows, ...); `blank` itself where there is no answer."""
    if part is None or batch.slot is None:
        return blank if part is None else part
    inner = part.shape[1:]
    return blank.reshape(-1, *inner).index_copy(0, batch.slot, part.to(blank.dtype)).view(blank.shape)
