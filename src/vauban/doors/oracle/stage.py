"""The stage of an evasion: who is attacked, which rows are still in play, and whose turn it is."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from torch import Tensor

from vauban.doors.oracle.aim import Aim
from vauban.doors.oracle.book import Attempt, Book, Outcome
from vauban.doors.oracle.desk import Desk
from vauban.doors.oracle.entry import Answers, checked_rows, clean_answers, eligible_rows
from vauban.doors.oracle.judge import Referee
from vauban.doors.oracle.passes import Chunks
from vauban.doors.oracle.room import rows_with_room, usual_rows
from vauban.doors.oracle.view import Meter, Rows, View
from vauban.errors import BadData, NotGranted
from vauban.geometry import Body, per_row, space_of
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target, default_surrogate
from vauban.threat import Access, Threat

Settle = Literal["first", "nearest", "worst"]
INF = math.inf
BLOCK = 1 << 23
"""Features, over all rows, that an attack works on at once: 32 MiB for each tensor of its state."""


class Stage:
    """Target x threat x rows x surrogate, and the loops of the attack that acts on them. `Oracle` adds the questions.

    Args:
        target: the model under attack.
        x: float (n, *shape), clean inputs inside the threat's box.
        y: int64 (n,), true classes.
        threat: what the attacker knows, wants, may do and may spend.
        surrogate: what gradients are taken from; by default the target's own stand-in, or the target.
        settle: when a row is done: "first", at its first success; "nearest", never, looking for ever smaller examples; "worst", never and
            without judging, for the inner loop of adversarial training.
        samples: inputs of the attacker's own (m, *shape) and their classes (m,), int64: where decision-based attacks look for a start, and what a
            surrogate can be trained on.
        clean: what the target answered to the clean rows, where it is not to be asked again.
        curve: with "first", let minimum-norm attacks go on with broken rows too, so that every row gets its distance.
        seed, ids: the noise of a row is a function of the seed, the attack, and the row's id (by default its index).
        max_rows: rows in one forward pass; by default as many as there is memory for, up to a usual number. Halved when memory runs out.
        deadline: `time.monotonic()` value after which loops end.

    Raises:
        BadData, BadPlan, BadTarget, NotGranted: the rows, the threat or the target cannot be used as they are.
    """

    def __init__(
        self,
        target: Target,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        *,
        surrogate: Surrogate | None = None,
        settle: Settle = "first",
        curve: bool = False,
        samples: tuple[Tensor, Tensor] | None = None,
        clean: Answers | None = None,
        seed: int = 0,
        ids: Tensor | None = None,
        max_rows: int | None = None,
        deadline: float = INF,
    ) -> None:
        if threat.access > target.access and surrogate is None and target.surrogate is None:
            raise NotGranted(
                f"threat {threat.name!r} grants {threat.access.name.lower()} access and {target.name} only shows {target.access.name.lower()}s; "
                "lower the threat's access, or give a surrogate to take gradients from"
            )
        self.target, self.threat, self.settle, self.curve, self.deadline = target, threat, settle, curve, deadline
        self.surrogate = default_surrogate(target) if surrogate is None else surrogate
        self._x, self._y = checked_rows(x, y, target.device, threat)
        self._x = target.wire(self._x)
        if self._x.ndim == 4:
            self._x = self._x.contiguous(memory_format=target.layout)
        self.samples = None if samples is None else checked_rows(*samples, target.device, threat)
        if self.samples is not None and self.samples[0].shape[1:] != self._x.shape[1:]:
            raise BadData(
                f"samples of shape {tuple(self.samples[0].shape[1:])} for inputs of shape {self.shape}; give inputs of the same kind"
            )
        self._ids = torch.arange(len(x), device=target.device) if ids is None else ids.to(target.device)
        self._noise = RowNoise(self._ids, seed)
        self.space = space_of(threat.perturbation, self._x)
        self._chunks = Chunks(max_rows or usual_rows(target.device))
        self._ask_clean(seed, clean)
        if max_rows is None and self.surrogate is not None:
            with self.surrogate.held():
                self._chunks.most = rows_with_room(self.surrogate, self._x, self._noise.fork("room"), self._chunks.most)
        self._spends_gradients, self._everything = False, False
        self._most = _limit(self.book.queries, None, threat.queries)
        self._current: View | None = None
        self._attempt = Attempt("", self._ids, self.book.broken, self.book.queries)

    def _ask_clean(self, seed: int, known: Answers | None) -> None:
        """Ask the referee's clean questions, where the answers are not known, and open the accounts."""
        judging = self.settle != "worst"
        answers = known or clean_answers(self.target, self._x, self._y, self._chunks, self._noise, judging=judging)
        self.classes = answers.classes
        self.referee = Referee(self.target, self.space, self._chunks, self.classes, seed)
        eligible, attacked = eligible_rows(self.threat.goal, self._y, answers.correct, self._ids, judging=judging)
        eligible, attacked = eligible & ~answers.missing, attacked & ~answers.missing
        wrong = eligible & ~answers.correct if self.threat.goal.untargeted and judging else torch.zeros_like(eligible)
        goes_on = self.curve or self.settle == "nearest"
        self.book = Book(self.space.start(self._x), eligible, attacked, answers.correct, answers.labels, wrong, goes_on=goes_on)
        self.book.nonfinite |= answers.nonfinite & ~answers.missing
        self._aim = Aim.of_goal(self.threat.goal, self._y, self.classes, self.target.reject, self._ids)
        self.desk = Desk(self.target, self.surrogate, self.referee, self._chunks, self.book)
        self._worst: Tensor | None = None if judging else self.book.best

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return tuple(self._x.shape[1:])

    def rows(self, **state: Tensor) -> Rows:
        """Register state that goes with the rows, so that it is narrowed with them: `s = o.rows(x=o.x)`, then `s.x`."""
        return self._view.register(Rows(**state))

    def blocks(self) -> Iterator[None]:
        """The rows of the present attack in blocks, so that its state stays small however many there are; rows never couple, so that this
        changes nothing. At most one turn for the rows of a usual chunk, none when no row is left."""
        whole = self._view
        size = max(BLOCK // max(whole.v0[:1].numel(), 1), 1)
        for first in range(0, len(whole), size):
            if len(whole) > size:
                self._settle_accounts()
                part = whole.index[first : first + size]
                self._current = self._view_on(part[self._open(part)], whole.body, *whole.noise.stream)
            if self.live:
                yield

    def steps(self, n: int) -> Iterator[int]:
        """Count to n, or until no row is worth another step. Settled rows are dropped at every turn."""
        for i in range(n):
            if not self._goes_on():
                return
            yield i

    def restarts(self, n: int) -> Iterator[int]:
        """Count to n, or until no row is left; every restart has noise of its own."""
        noise = self._view.noise
        for i in range(n):
            if not self._goes_on():
                return
            if i:
                self._view.noise = RowNoise(self._ids[self._view.index], noise.seed, *noise.stream, i)
            yield i

    def _goes_on(self) -> bool:
        """Whether the loops of the present attack go on: there is time, and a row that can pay for another step. The others are dropped."""
        view = self._view
        if time.monotonic() > self.deadline:
            self._attempt.stopped = "time limit"
            return False
        if view.rich and (not self._spends_gradients or view.gradients.room >= 1):
            return True
        if not bool(view.can_pay(int(self._spends_gradients)).any()):
            return False
        if not view.rich:
            self._settle_accounts()
            view.narrow()
        return True

    def _settle_accounts(self) -> None:
        view = self._current
        if view is None:
            return
        self.book.queries[view.index], self.book.gradients[view.index] = view.queries.spent, view.gradients.spent
        for kind, meter in view.kinds.items():
            self.book.kinds[kind][view.index] = meter.spent

    @contextmanager
    def attacking(
        self, name: str, access: Access, *, minimal: bool = False, everyone: bool = True, queries: float = INF
    ) -> Generator[Attempt]:
        """The span of one attack: a view of the rows still live, noise of its own, its share of the budget, and an entry in the book.

        Args:
            name: the attack's name; a second attack of that name is labelled "name#2" and has other noise.
            access: what its questions need, so that loops end when nothing it can ask is left in the budget.
            minimal: a minimum-norm attack, which searches without a radius.
            everyone: whether it goes on with broken rows where a curve is wanted.
            queries: its share of what is left of each row's budget.
        """
        self._settle_accounts()
        used = sum(a.name.partition("#")[0] == name for a in self.book.attempts)
        outer = self._current, self._attempt, self._spends_gradients, self._everything, self._most
        self._everything = minimal and self.curve and everyone
        self._spends_gradients = access >= Access.GRADIENT and self.surrogate is not None and self.surrogate.access >= Access.GRADIENT
        self._most = _limit(self.book.queries, self._most, queries)
        self._current = view = self._view_of(self.space.body.within(INF) if minimal else self.space.body, name, used)
        label = f"{name}#{used + 1}" if used else name
        self._attempt = attempt = Attempt(label, view.index, self.book.broken.clone(), self.book.queries.clone())
        self.book.attempts.append(attempt)
        try:
            with ExitStack() as stack:
                stack.enter_context(self.target.held())
                if self.surrogate is not None:
                    stack.enter_context(self.surrogate.held())
                yield attempt
        finally:
            attempt.seconds = time.perf_counter() - attempt.began
            self._settle_accounts()
            self._current, self._attempt, self._spends_gradients, self._everything, self._most = outer
            if self._current is not None:
                self._current.refresh(self.book, None if self._keeps_broken else self.book.broken | self.book.proved)

    @contextmanager
    def through(self, surrogate: Surrogate) -> Generator[None]:
        """Take gradients from another surrogate for a while: one member of an ensemble, or one that transforms its input first.

        Raises:
            NotGranted: it needs more access than the threat grants.
        """
        if surrogate.access > self.threat.access:
            raise NotGranted(f"a surrogate that needs {surrogate.access.name.lower()} access; threat {self.threat.name!r} grants less")
        before, desk = self.surrogate, self.desk
        try:
            self.surrogate, self.desk = surrogate, Desk(self.target, surrogate, self.referee, self._chunks, self.book)
            yield
        finally:
            self.surrogate, self.desk = before, desk

    @property
    def _view(self) -> View:
        """The rows of the present attack; outside any, those that are still open."""
        if self._current is None:
            self._current = self._view_of(self.space.body, "")
        return self._current

    def _view_of(self, body: Body, *stream: str | int) -> View:
        """The rows that an attack may still ask about."""
        everyone = torch.arange(len(self._x), device=self._x.device)
        return self._view_on(everyone[self._open(everyone)], body, *stream)

    def _open(self, index: Tensor) -> Tensor:
        """Which of these rows may be asked about, bool."""
        book = self.book
        return book.attacked[index] if self._keeps_broken else (book.attacked & ~book.broken & ~book.proved)[index]

    def _view_on(self, index: Tensor, body: Body, *stream: str | int) -> View:
        book = self.book
        whole = len(index) == len(self._x)
        queries = Meter(book.queries[index], None if self._most is None else self._most[index])
        gradients = Meter(book.gradients[index], _limit(torch.zeros_like(index), None, self.threat.gradients))
        x, aim = (self._x, self._aim) if whole else (self._x[index], self._aim.take(index))
        kinds: dict[str, Meter] = {kind: Meter(spent[index], None) for kind, spent in book.kinds.items()}
        return View(index, x, self.space, body, aim, queries, gradients, kinds, RowNoise(self._ids[index], self._noise.seed, *stream))

    @property
    def _keeps_broken(self) -> bool:
        return self.settle != "first" or self._everything

    @property
    def live(self) -> bool:
        """Whether any row in view is still worth a question."""
        return len(self._view) > 0 and (self._view.rich or bool(self._view.can_pay(0).any()))

    def leave(self, done: Tensor) -> None:
        """The attack is done with these rows (bool (n,)); they are dropped at the next turn, and left to the attacks after it."""
        self._view.settle(done.nonzero()[:, 0])

    # ---- the end --------------------------------------------------------------------------------------------------------------------

    @property
    def outcome(self) -> Outcome:
        """What this attacker achieved so far."""
        self._settle_accounts()
        book = self.book
        best = book.best if self._worst is None else self._legal(self._worst)
        decoded = self._inputs(best)
        fell = decoded if book.fell is book.best else self._inputs(torch.where(per_row(book.by >= 0, best), book.fell, best))
        fell_distance = torch.where((book.by >= 0).to(book.distance.device), book.fell_distance, book.distance)
        known = torch.isfinite(book.distance).to(book.broken.device)
        return Outcome(
            decoded,
            book.distance,
            fell,
            fell_distance,
            book.broken,
            known,
            book.eligible,
            book.attacked,
            book.correct,
            book.answers,
            book.queries,
            book.gradients,
            book.first,
            book.by,
            book.share,
            book.proved,
            book.taken,
            book.said,
            book.kinds,
            book.refused,
        )

    def _legal(self, v: Tensor) -> Tensor:
        """The last points of an inner loop, inside the threat: an attack without a radius of its own may have left it."""
        start, body = self.space.start(self._x), self.space.body
        return body.project(start, v, body.limits(start))

    def _inputs(self, v: Tensor) -> Tensor:
        """The inputs that variables stand for; the clean inputs themselves where nothing was changed."""
        if self.space.identity:
            return v
        moved = self._chunks.whole(len(v), lambda s: (self.space.decode(self._x[s], v[s]),))[0]
        return torch.where(per_row((v != 0).flatten(1).any(1), moved), moved, self._x)


def _limit(spent: Tensor, most: Tensor | None, share: float) -> Tensor | None:
    """The count at which each row stops: the limit around it (the threat's budget, an outer attack's), or its share of what is left."""
    if share == INF:
        return most
    own = spent + int(share)
    return own if most is None else torch.minimum(most, own)
