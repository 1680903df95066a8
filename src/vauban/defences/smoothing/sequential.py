"""Certificates that take as many samples as the question is hard: each row is asked until it is settled, and then makes room for the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vauban.defences.smoothing.booth import CHUNK, Ask, Booth, Stream, checked_rows, words_of
from vauban.defences.smoothing.question import Question, question_of
from vauban.defences.smoothing.results import Outcome, Verdict
from vauban.defences.smoothing.smoothed import Smoothed
from vauban.noise import RowNoise
from vauban.threat import Ball

SELECT = 64
"""Samples that choose the class a certificate speaks of, where no true one is given; they do not count for it."""


def certify(
    smoothed: Smoothed,
    x: Tensor,
    y: Tensor | None = None,
    ball: Ball | None = None,
    *,
    radii: Sequence[float] = (),
    alpha: float = 0.001,
    most: int = 100_000,
    ids: Tensor | None = None,
    seed: int = 0,
    max_rows: int | None = None,
) -> Iterator[Outcome]:
    """Certify rows with as few samples as the answer takes; they come back in the order in which they are settled.

    Args:
        smoothed: the smoothed classifier.
        x: float (n, *shape), the rows as the model receives them.
        y: int64 (n,), true classes: the certificate is then about them, and no samples are spent on choosing a class.
        ball: what an attacker may do; its radius is one of those asked.
        radii: more radii, in the norm of the ball (of `smoothed` where there is none): each row is certified at the largest that its votes
            prove. Without either, all that is asked is whether a class has a majority.
        alpha: the chance, for each row, that anything said of it as certified is false, over the noise; however often the votes are looked at.
        most: samples of one row, at most.
        ids: int64 (n,), what makes a row itself: its noise depends on this and the seed, never on the rows it travels with.
        max_rows: samples in one pass.

    Raises:
        BadPlan: the question cannot be answered, whatever the votes (see `question_of`).
        BadData: no rows, or labels that do not fit.
        BadTarget: the model is no classifier.

    >>> import numpy as np, torch
    >>> from vauban.target import Function
    >>> first = Function(lambda x: np.stack([x[:, 0], -x[:, 0]], 1), outputs="logits", classes=2)
    >>> [found] = certify(Smoothed(first, 0.5), torch.tensor([[0.9, 0.0]]), ball=Ball(0.5, 2))  # the boundary lies 0.9 away
    >>> found.verdict, found.answer, found.radius, found.samples < 1000
    ('certified', 0, 0.5, True)
    """
    question = question_of(smoothed, ball, x.shape[1:], radii=radii, alpha=alpha, most=most)
    rows = checked_rows(smoothed.target, x, y, ids)
    booth = Booth(smoothed.target, smoothed.noise, rows.classes, max_rows)
    return Desk(booth, question, x, None if y is None else y.tolist(), rows.ids, seed).settled()


@dataclass(eq=False)
class Seat:
    """A row that is being asked about.

    Attributes:
        place: its place among the rows.
        stream: its noise.
        claimed: the class in question; -1 until a first sample has chosen it.
        lost: the place of the smallest radius that is out of reach.
        proven: how many of the radii are certified, from the smallest on.
        peek: at which peek the votes are looked at next.
        n, votes: samples asked for the question, and what they said; the last number counts those without answer.
        spent: samples taken before, to choose the class.
    """

    place: int
    stream: Stream
    claimed: int
    lost: int
    proven: int = 0
    peek: int = 0
    n: int = 0
    spent: int = 0
    votes: list[int] = field(default_factory=list[int])


class Desk:
    """Asks about rows, a passful of samples at a time.

    Args:
        x, y, ids: the rows, their classes if known, and their names.
    """

    def __init__(self, booth: Booth, question: Question, x: Tensor, y: list[int] | None, ids: Tensor, seed: int) -> None:
        self.booth, self.question = booth, question
        self.x, self.y, self.ids = x, y, ids
        self.words = words_of(RowNoise(ids, seed, "certify"))
        self.next = 0
        self.seats: list[Seat] = []

    def settled(self) -> Iterator[Outcome]:
        """The rows as they are settled, until all are."""
        with self.booth.target.held():
            while self.seats or self.next < len(self.x):
                turn = self._turn()
                for (seat, _), votes in zip(turn, self.booth.vote([ask for _, ask in turn]), strict=True):
                    seat.votes = [a + b for a, b in zip(seat.votes, votes, strict=True)] if seat.votes else votes
                yield from self._looked_at(len({id(seat) for seat, _ in turn}))

    def _turn(self) -> list[tuple[Seat, Ask]]:
        """A passful of samples, of the first rows at hand; of new ones where those want no more before their votes are looked at."""
        turn: list[tuple[Seat, Ask]] = []
        room, place = self.booth.room, 0
        while room > 0 and (place < len(self.seats) or self.next < len(self.x)):
            if place == len(self.seats):
                self.seats.append(self._seated())
            seat = self.seats[place]
            count = min(self._due(seat), CHUNK)
            if count > room and turn:
                break
            turn.append((seat, Ask(self.x[seat.place].to(self.booth.target.device), seat.stream, count)))
            seat.n, room = seat.n + count, room - count
            place += not self._due(seat)
        return turn

    def _due(self, seat: Seat) -> int:
        """Samples until its votes are looked at."""
        return (SELECT if seat.claimed < 0 else self.question.peeks[seat.peek]) - seat.n

    def _seated(self) -> Seat:
        """The next row."""
        place, self.next = self.next, self.next + 1
        stream = Stream(self.words[place], self.booth.target.device)
        return Seat(place, stream, -1 if self.y is None else self.y[place], len(self.question.radii))

    def _looked_at(self, asked: int) -> Iterator[Outcome]:
        """Whatever is settled of the first `asked` rows. Those that wait for more samples go on first; those looked at queue up behind."""
        first, rest = self.seats[:asked], self.seats[asked:]
        ready = [seat for seat in first if not self._due(seat)]
        found = [(seat, self._judged(seat)) for seat in ready]
        self.seats = [*(seat for seat in first if seat not in ready), *rest, *(seat for seat, outcome in found if outcome is None)]
        yield from (outcome for _, outcome in found if outcome is not None)

    def _judged(self, seat: Seat) -> Outcome | None:
        """What its votes settle; None where it goes on."""
        answer = max(range(len(seat.votes)), key=seat.votes.__getitem__)
        if seat.claimed < 0:
            if answer == self.booth.classes:
                return self._outcome(seat, "abstain", answer)
            seat.claimed, seat.spent, seat.n, seat.votes = answer, seat.n, 0, []
            return None
        won, last = seat.votes[seat.claimed], seat.peek == len(self.question.peeks) - 1
        seat.proven, seat.lost = self.question.look(seat.peek, won, seat.proven, seat.lost)
        if seat.proven < seat.lost and not last and self.question.open(seat.proven, seat.lost, won, seat.n):
            seat.peek += 1
            return None
        everything = len(self.question.radii)
        if seat.proven == everything:
            return self._outcome(seat, "certified", answer)
        if seat.lost == everything:
            return self._outcome(seat, "undecided", answer)
        return self._outcome(seat, "abstain" if self.y is None or answer == seat.claimed else "wrong", answer)

    def _outcome(self, seat: Seat, verdict: Verdict, answer: int) -> Outcome:
        radii = self.question.radii
        return Outcome(
            int(self.ids[seat.place]),
            verdict,
            answer,
            seat.claimed,
            radii[seat.proven - 1] if seat.proven else None,
            radii[seat.lost] if seat.lost < len(radii) else None,
            seat.spent + seat.n,
            tuple(seat.votes),
        )
