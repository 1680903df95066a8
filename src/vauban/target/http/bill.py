"""The accounts of an endpoint: what was spent so far, what may be spent, and what a plan would cost."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vauban.errors import BudgetSpent
from vauban.target.http.answer import Reply
from vauban.target.http.journal import Journal, Key
from vauban.target.http.settings import Budget, Cost
from vauban.target.http.wire import Packed


@dataclass(frozen=True, slots=True)
class Bill:
    """What an endpoint has cost, over all sessions that its journal knows.

    Attributes:
        requests: different requests; attempts: how often one was sent, again and again included: what the server saw at most.
        rows: rows sent, in all attempts.
        answered, refused, failed: questions, by what became of them.
        lost: attempts that were under way when a process died or was interrupted; they are spent.
        replayed: questions of this session that the journal answered, at no cost.
        sent, received: bytes of bodies.
        latency: seconds of all attempts added up; asking: seconds by the clock.
        money: in `unit`.
    """

    requests: int
    attempts: int
    rows: int
    answered: int
    refused: int
    failed: int
    lost: int
    replayed: int
    sent: int
    received: int
    latency: float
    asking: float
    money: float
    unit: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking would cost at most, before anything is asked.

    Attributes:
        queries: rows; requests: without retries.
        seconds: with `latency` seconds for each request.
        measured: whether that latency was measured, or is assumed.
        money: in `unit`.
    """

    queries: float
    requests: float
    seconds: float
    money: float
    unit: str
    latency: float
    measured: bool


class Ledger:
    """Counts what is sent to one endpoint, keeps it in the journal, and stops at the budget."""

    def __init__(self, journal: Journal, endpoint: str, budget: Budget, cost: Cost) -> None:
        self.journal, self.endpoint, self.budget, self.cost = journal, endpoint, budget, cost
        self.before = t = journal.totals(endpoint)
        self.requests, self.attempts, self.rows, self.ended = t.requests, t.attempts, t.rows, t.ended
        self.sent, self.received, self.latency, self.money, self.asking = t.sent, t.received, t.latency, t.money, t.asking
        self.outcomes = Counter({"answered": t.answered, "refused": t.refused, "failed": t.failed})
        self.replayed = 0
        self._asked: Counter[str] = Counter()

    def key(self, packed: Packed) -> Key:
        """The question about these bytes that comes next in this session."""
        sha = hashlib.sha256(packed.data).hexdigest()
        self._asked[sha] += 1
        return Key(sha, self._asked[sha])

    def known(self, key: Key) -> Reply | bool | None:
        """The reply to a question that was asked before: None where it failed for good, False where it was never answered."""
        found = self.journal.known(self.endpoint, key)
        if found is None:
            return False
        self.replayed += 1
        return None if found[0] == "failed" else Reply.read(found[1])

    def begin(self, attempt: int, keys: Sequence[Key], size: int) -> int:
        """Reserve and write down an attempt before it is sent.

        Raises:
            BudgetSpent: it would go over the budget.
        """
        price = self.cost.of(len(keys))
        self._reserve(len(keys), price)
        number = self.journal.begin(self.endpoint, attempt, keys, size, price)
        self.requests += attempt == 1
        self.attempts += 1
        self.rows += len(keys)
        self.sent += size
        self.money += price
        return number

    def end(
        self, number: int, rows: int, outcome: str, *, status: int | None, seconds: float, received: int = 0, billed: bool = True
    ) -> None:
        """An attempt that brought no answer."""
        price = self.cost.of(rows)
        self.journal.end(number, outcome, status=status, seconds=seconds, received=received, billed=price if billed else 0.0)
        self._ended(seconds, received)
        self.money -= 0.0 if billed else price

    def answer(self, number: int, keys: Sequence[Key], replies: Sequence[Reply], *, status: int, seconds: float, received: int) -> None:
        """An attempt that was answered."""
        lines = [(k, "refused" if r.refused else "answered", r.text()) for k, r in zip(keys, replies, strict=True)]
        price = self.cost.of(len(keys))
        self.journal.answer(self.endpoint, number, lines, status=status, seconds=seconds, received=received, billed=price)
        self.outcomes.update(outcome for _, outcome, _ in lines)
        self._ended(seconds, received)

    def fail(self, keys: Sequence[Key]) -> None:
        """Questions that are left without an answer, for good."""
        self.journal.fail(self.endpoint, keys)
        self.outcomes["failed"] += len(keys)

    def tick(self, seconds: float) -> None:
        """Time that asking took by the clock."""
        self.journal.tick(self.endpoint, seconds)
        self.asking += seconds

    @property
    def understood(self) -> int:
        """Questions that got an answer, were it a refusal."""
        return self.outcomes["answered"] + self.outcomes["refused"]

    @property
    def bill(self) -> Bill:
        """What was spent so far."""
        o = self.outcomes
        return Bill(
            self.requests, self.attempts, self.rows, o["answered"], o["refused"], o["failed"], self.attempts - self.ended, self.replayed,
            self.sent, self.received, self.latency, self.asking, self.money, self.cost.unit,
        )  # fmt: skip

    def _ended(self, seconds: float, received: int) -> None:
        self.ended += 1
        self.latency += seconds
        self.received += received

    def _reserve(self, rows: int, price: float) -> None:
        b = self.budget
        for name, spent, most, unit in (
            ("rows", self.rows + rows, b.rows, "rows"),
            ("requests", self.attempts + 1, b.requests, "requests"),
            ("money", self.money + price, b.money, self.cost.unit),
            ("seconds", self.asking, b.seconds, "seconds"),
        ):
            if most is not None and spent > most + 1e-9:
                raise BudgetSpent(
                    f"the endpoint's budget of {most:g} {unit or name} is spent; raise {name} under budget and run the same again: "
                    "it goes on from the journal"
                )


def estimated(queries: float, *, batch: int, cost: Cost, concurrency: int, interval: float, latency: float, measured: bool) -> Estimate:
    """The price of so many queries, of which one input each.

    >>> estimated(1000, batch=1, cost=Cost(per_row=0.01), concurrency=4, interval=0.1, latency=0.2, measured=False).seconds
    100.0
    """
    requests = math.ceil(queries / batch) if math.isfinite(queries) else math.inf
    seconds = requests * max(latency / concurrency, interval)
    priced = bool(cost.per_request or cost.per_row)
    money = cost.per_request * requests + cost.per_row * queries if priced else 0.0
    return Estimate(queries, requests, seconds, money, cost.unit, latency, measured)
