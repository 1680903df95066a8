"""The door between an attack and a target of texts: it answers, enforces, counts, judges, and keeps the nearest example of each row.

The accounts are those of the evasion oracle (`Book`, `Meter`, kinds of questions). An attack is a generator over one row; all rows are played at
once, and what they ask between two answers goes to the model together, in whatever phase each of them is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vauban.doors.oracle import Aim, Attempt
from vauban.doors.oracle.book import Book
from vauban.doors.oracle.entry import eligible_rows
from vauban.doors.oracle.view import Meter
from vauban.doors.text.judge import TextReferee, check_editable, checked_texts
from vauban.doors.text.row import Ask, Play, Player, Reply, TextRow
from vauban.doors.text.ruler import Ruler
from vauban.doors.text.target import TextTarget
from vauban.errors import BadPlan, NotGranted
from vauban.noise import RowNoise
from vauban.threat import Access, Edits, Threat

INF = math.inf
Settle = Literal["first", "nearest"]


@dataclass(eq=False)
class _Turn:
    """One row being played: its place in the view, the attack under way, and what it asks now, trimmed to what it can pay."""

    place: int
    play: Play
    ask: Ask
    count: int = 0


@dataclass(eq=False)
class _View:
    """The rows of one attack and what they have spent."""

    index: Tensor
    queries: Meter
    gradients: Meter
    kinds: dict[str, Meter]
    stream: tuple[str | int, ...]


class TextOracle:
    """Target x threat x texts.

    Args:
        target: the model under attack.
        texts: clean texts.
        labels: their true classes.
        threat: what the attacker knows, wants, may do (`Edits`) and may spend.
        settle: when a row is done: "first", at its first success; "nearest", when the attack ends, looking for ever fewer edits.
        seed, ids: the noise of a row is a function of the seed, the attack, and the row's id (by default its index).
        max_rows: texts in one call of the target.
        deadline: `time.monotonic()` value after which attacks end.

    Attributes:
        book: the accounts. `book.best` and `book.fell` are places in `kept`; `adversarial` reads them.
        unverified: bool (n,), rows with an answer that looked like a success and was another when asked alone.

    Raises:
        BadData, BadPlan, BadTarget, NotGranted: the texts, the threat or the target cannot be used as they are.
    """

    shape: tuple[int, ...] = ()

    def __init__(
        self,
        target: TextTarget,
        texts: Sequence[str],
        labels: Sequence[int] | Tensor,
        threat: Threat,
        *,
        settle: Settle = "first",
        seed: int = 0,
        ids: Tensor | None = None,
        max_rows: int = 256,
        deadline: float = INF,
    ) -> None:
        allowed = threat.perturbation
        if not isinstance(allowed, Edits):
            raise BadPlan(f"threat {threat.name!r} allows {allowed.kind}, and these are texts; allow Edits")
        if threat.access > target.access:
            raise NotGranted(
                f"threat {threat.name!r} grants {threat.access.name.lower()} access and {target.name} only shows {target.access.name.lower()}s; "
                "lower the threat's access"
            )
        self.target, self.threat, self.settle, self.seed, self.deadline = target, threat, settle, seed, deadline
        self.texts, self.y = checked_texts(texts, labels)
        self.rulers = [Ruler(text, allowed) for text in self.texts]
        self.ids = torch.arange(len(self.texts)) if ids is None else ids.to("cpu", torch.int64)
        for row, ruler in zip(self.ids.tolist(), self.rulers, strict=True):
            check_editable(ruler, row)
        self.referee = TextReferee(target, self.texts, self.y, max_rows)
        self.kept = list(self.texts)
        self.unverified = torch.zeros(len(self.texts), dtype=torch.bool)
        self.book = self._opened()
        self.aim = Aim.of_goal(threat.goal, self.y, self.referee.classes, target.reject, self.ids)
        self._view: _View | None = None
        self._attempt = Attempt("", self.ids, self.book.broken, self.book.queries)

    def _opened(self) -> Book:
        """The accounts, with what the clean answers came to."""
        answers, goal = self.referee.clean, self.threat.goal
        eligible, attacked = eligible_rows(goal, self.y, answers.correct, self.ids)
        wrong = eligible & ~answers.correct if goal.untargeted else torch.zeros_like(eligible)
        start = torch.arange(len(self.texts))
        book = Book(start, eligible, attacked, answers.correct, answers.labels, wrong, goes_on=self.settle == "nearest")
        book.nonfinite |= answers.nonfinite
        return book

    # ---- the span of an attack ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def attacking(
        self, name: str, access: Access, *, minimal: bool = False, everyone: bool = True, queries: float = INF
    ) -> Generator[Attempt]:
        """The span of one attack: the rows still live, noise of its own, its share of the budget, and an entry in the book.

        The arguments are those of `Oracle.attacking`; `minimal` and `everyone` change nothing here.
        """
        book = self.book
        used = sum(a.name.partition("#")[0] == name for a in book.attempts)
        index = self._open().nonzero()[:, 0]
        spent = book.queries[index]
        self._view = _View(
            index,
            Meter(spent, _least(_limit(torch.zeros_like(spent), self.threat.queries), _limit(spent, queries))),
            Meter(book.gradients[index], _limit(torch.zeros_like(spent), self.threat.gradients)),
            {kind: Meter(of_kind[index], None) for kind, of_kind in book.kinds.items()},
            (name, used),
        )
        self._attempt = Attempt(f"{name}#{used + 1}" if used else name, index, book.broken.clone(), book.queries.clone())
        book.attempts.append(self._attempt)
        try:
            with self.target.held():
                yield self._attempt
        finally:
            self._attempt.seconds = time.perf_counter() - self._attempt.began
            self._settle_accounts()
            self._view = None

    def blocks(self) -> Iterator[None]:
        """One turn, if there is a row to attack."""
        if self._view is not None and len(self._view.index):
            yield

    def _open(self) -> Tensor:
        return self.book.attacked if self.settle == "nearest" else self.book.attacked & ~self.book.broken

    def _settle_accounts(self) -> None:
        view = self._view
        if view is None:
            return
        self.book.queries[view.index], self.book.gradients[view.index] = view.queries.spent, view.gradients.spent
        for kind, meter in view.kinds.items():
            self.book.kinds[kind][view.index] = meter.spent

    def play(self, attack: Player) -> None:
        """Play an attack on every live row until each has ended, fallen or spent its budget. Called within `attacking`."""
        view = self._view
        if view is None:
            raise BadPlan("a text attack plays within TextOracle.attacking; call the attack with the oracle instead")
        turns = [turn for place in range(len(view.index)) if (turn := self._begun(attack, place, view))]
        while turns:
            if time.monotonic() > self.deadline:
                self._attempt.stopped = "time limit"
                break
            turns = self._paying(turns, view)
            if turns:
                turns = self._round(turns, view)
        for turn in turns:
            turn.play.close()

    def _begun(self, attack: Player, place: int, view: _View) -> _Turn | None:
        row = int(view.index[place])
        noise = RowNoise(self.ids[row : row + 1], self.seed, *view.stream)
        play = attack(TextRow(self.rulers[row], self.threat, noise))
        ask = _next(play, None)
        return None if ask is None else _Turn(place, play, ask)

    def _paying(self, turns: list[_Turn], view: _View) -> list[_Turn]:
        """The rows that can pay for at least one question, each trimmed to its last one."""
        queries, gradients = view.queries.left.tolist(), view.gradients.left.tolist()
        going: list[_Turn] = []
        for turn in turns:
            left = queries[turn.place] if turn.ask.around is None else min(queries[turn.place], gradients[turn.place])
            turn.count = min(len(turn.ask.texts), left)
            if turn.count or not turn.ask.texts:
                going.append(turn)
            else:
                turn.play.close()
        return going

    def _round(self, turns: list[_Turn], view: _View) -> list[_Turn]:
        """Put all that is asked now to the target, judge it, and hand the answers back; the rows that go on."""
        groups: dict[object, list[_Turn]] = {}
        for turn in turns:  # one call of the target for all values, and one for the slopes of each objective
            groups.setdefault(None if turn.ask.around is None else turn.ask.loss, []).append(turn)
        replies: dict[int, Reply] = {}
        for group in groups.values():
            replies |= self._answered(group, view)
        going: list[_Turn] = []
        for turn in turns:
            if self.settle == "first" and bool(self.book.broken[view.index[turn.place]]):
                turn.play.close()
                continue
            ask = _next(turn.play, replies[turn.place])
            if ask is not None:
                going.append(_Turn(turn.place, turn.play, ask))
        return going

    def _answered(self, group: list[_Turn], view: _View) -> dict[int, Reply]:
        """The replies to some rows, by their places. Charged and judged here."""
        texts = [text for t in group for text in t.ask.texts[: t.count]]
        places = torch.tensor([t.place for t in group for _ in range(t.count)], dtype=torch.int64)
        if not texts:
            return {t.place: Reply([], []) for t in group}
        number = self._charged(group, places, view)
        aim = self.aim.take(view.index[places])
        self._attempt.forwards += len(texts)
        gains: list[list[float]] = [[] for _ in group]
        if group[0].ask.around is None:
            z = self.referee.scores(texts)
        else:
            self._attempt.backwards += len(texts)
            z, gains = self.referee.slopes([t.ask for t in group], aim)
        met = self._judged(texts, view.index[places], z, aim, torch.stack([number, view.gradients.spent[places]], 1))
        replies: dict[int, Reply] = {}
        start = 0
        for turn, gain in zip(group, gains, strict=True):
            own = slice(start, start + turn.count)
            values = turn.ask.loss(aim.take(own), z[own]).nan_to_num(-INF, posinf=INF, neginf=-INF).tolist()
            blank = len(turn.ask.texts) - turn.count
            replies[turn.place] = Reply(met[own] + [False] * blank, values + [-INF] * blank, gain)
            start += turn.count
        return replies

    def _charged(self, group: list[_Turn], places: Tensor, view: _View) -> Tensor:
        """Charge every question; returns their numbers, counted on each row from 1."""
        nth = torch.tensor([i + 1 for t in group for i in range(t.count)], dtype=torch.int64)
        number = view.queries.spent[places] + nth
        view.queries.charge_some(places, 1)
        for kind in {t.ask.kind for t in group}:
            own = torch.tensor([t.place for t in group if t.ask.kind == kind for _ in range(t.count)], dtype=torch.int64)
            view.kinds[kind].charge_some(own, 1)
        if group[0].ask.around is not None:
            view.gradients.charge_some(places, 1)
        return number

    def _judged(self, texts: Sequence[str], rows: Tensor, z: Tensor, aim: Aim, counts: Tensor) -> list[bool]:
        """The verdict on every question; what counts, verified alone, is kept. `counts`: questions and gradients on its row up to each."""
        finite = torch.isfinite(z).all(1)
        self.book.nonfinite[rows[~finite]] = True
        met = (aim.margin(z) > 0) & finite
        found = [False] * len(texts)
        for i in met.nonzero()[:, 0].tolist():
            found[i] = self._counts(str(texts[i]), int(rows[i]), aim.take(torch.tensor([i])), counts[i : i + 1])
        return found

    def _counts(self, text: str, row: int, aim: Aim, counts: Tensor) -> bool:
        """Whether a text that met the goal counts: it lies within the threat, and fools again when asked alone. The nearest one is kept."""
        distance = self.rulers[row].distance(text, self.rulers[row].allowed.most)
        if distance == INF:
            return False
        if distance >= float(self.book.distance[row]):
            return True
        if not self.referee.again(text, aim):
            self.unverified[row] = True
            return False
        self.kept.append(text)
        at = torch.tensor([row])
        size = torch.tensor([distance], dtype=torch.float64)
        place, one = torch.tensor([len(self.kept) - 1]), torch.ones(1)
        eps, by = self.threat.perturbation.eps, self.book.place(self._attempt)
        self.book.keep(at, place, size, counts[:, 0], one, eps=eps, by=by, taken=counts[:, 1])
        return True

    # ---- what came of it ----------------------------------------------------------------------------------------------------------------

    def adversarial(self, row: int) -> str:
        """The nearest verified example of a row; its clean text where there is none."""
        return self.kept[int(self.book.best[row])]


def _next(play: Play, reply: Reply | None) -> Ask | None:
    """What an attack asks next, or None at its end."""
    try:
        return next(play) if reply is None else play.send(reply)
    except StopIteration:
        return None


def _limit(spent: Tensor, share: float) -> Tensor | None:
    return None if share == INF else spent + int(share)


def _least(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else torch.minimum(a, b)
