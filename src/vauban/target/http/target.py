"""An HTTP endpoint as a target."""

from __future__ import annotations

import hashlib
import json
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import torch
from torch import Tensor

from vauban.errors import BadEndpoint, BadTarget, NotGranted
from vauban.noise import RowNoise
from vauban.target.base import Target
from vauban.target.http.answer import Reader, Reply
from vauban.target.http.asker import Asked, Asker
from vauban.target.http.bill import Bill, Estimate, Ledger, estimated
from vauban.target.http.exchange import Exchange
from vauban.target.http.journal import Journal, Totals
from vauban.target.http.secrets import Secrets, check_written
from vauban.target.http.settings import Answer, Authorisation, Budget, Cost, Probe, Rate, Request, Retry, Timeout
from vauban.target.http.thread import Loop
from vauban.target.http.triage import Triage
from vauban.target.http.wire import wire_of
from vauban.target.outputs import KINDS, checked_kind, recognise
from vauban.threat import Access

ASSUMED = 0.2
"""Seconds that a request is taken to need before one was measured."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """What the same bytes got when they were asked several times.

    Attributes:
        rows, repeats: clean rows, and how often each was asked.
        flips: the share of repeated answers whose class was another than the first time.
        moved: the share whose answer was another in any digit.
    """

    rows: int
    repeats: int
    flips: float
    moved: float


class Http(Target):
    """A classifier behind an HTTP endpoint.

    What is judged is what the endpoint receives: every input is rounded to what is sent (`wire`). A question that is refused, or fails after
    all retries, has NaN scores and the label -1. Everything that is sent stands in the journal before it is sent: the same campaign,
    begun again after a crash, asks no answered question a second time. The n-th question about the same bytes in a session gets the n-th
    answer that was recorded, so that an endpoint that is not deterministic repeats itself too.

    Args:
        url: "https://host/path", without secrets.
        authorisation: who allows it to be attacked, and the hosts that may be sent to.
        request, answer: how it is asked, and how its answers are read.
        retry, timeout, rate: patience and pace.
        budget, cost: what it may cost, and what it costs.
        probe: how its steadiness is looked at, in `prepare`.
        journal: the file; None for one in memory, which is gone with the process.
        randomised: declare that it draws noise of its own: each success is then asked again with nine fresh questions, and counts by majority.
            It takes no noise of ours, so that only the journal repeats it.
        name: what the record calls it; by default host and path.

    Raises:
        NotAuthorised: its host is not allowed.
        BadPlan: settings that cannot be meant, a secret that is written down, an environment variable that is not set.

    Attributes:
        steadiness: what the repeated questions showed; None before `prepare`.
    """

    kind: ClassVar[str] = "http"
    refuses = True
    metered = True

    def __init__(
        self,
        url: str,
        authorisation: Authorisation,
        *,
        answer: Answer,
        request: Request | None = None,
        retry: Retry | None = None,
        timeout: Timeout | None = None,
        rate: Rate | None = None,
        budget: Budget | None = None,
        cost: Cost | None = None,
        probe: Probe | None = None,
        journal: str | Path | None = None,
        randomised: bool = False,
        name: str = "",
    ) -> None:
        self.url, self.authorisation, self.randomised = _checked(url, authorisation), authorisation, randomised
        self.request, self.answer = request or Request(), answer
        self.retry, self.timeout, self.rate = retry or Retry(), timeout or Timeout(), rate or Rate()
        self.budget, self.cost, self.probe = budget or Budget(), cost or Cost(), probe or Probe()
        parts = urlsplit(url)
        self.name = name or f"{parts.netloc}{parts.path}"
        self.journal = None if journal is None else Path(journal)
        check_written(self.request.headers, "headers")
        check_written(self.request.query, "query")
        check_written(self.request.form, "form")
        asked = self.request
        self._secrets = Secrets(asked.headers, asked.query, asked.form, asked.template)
        self._reader, self._wire = Reader(answer), wire_of(asked)
        self.access = Access.SCORE if answer.scores or answer.confidence else Access.LABEL
        said = "probabilities" if answer.confidence else answer.outputs
        self.outputs = checked_kind(said, self.name) if self.access >= Access.SCORE else "labels"
        self.classes = self._reader.classes
        self.steadiness: Steadiness | None = None
        self._line: _Line | None = None

    def __repr__(self) -> str:
        return f"Http({self.url!r})"

    # ---- answers --------------------------------------------------------------------------------------------------------------------

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Scores (n, classes), float64, NaN where there is no answer. `draw` is not used: the endpoint's noise is its own."""
        if self.access < Access.SCORE:
            raise NotGranted(f"{self.name}: the endpoint only shows labels; for scores say where in the answer they are")
        return self._scored(self._ask(x))

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Predicted classes, int64 (n,); -1 where there is no answer."""
        return self._labelled(self._ask(x))

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        """Inputs as the endpoint receives them; see `Target.wire`."""
        return self._wire.rounded(x, clean)

    def prepare(self, x: Tensor) -> None:
        """Ask a few clean rows several times, once in the life of this target: what the scores are, and how steady.

        Raises:
            BadEndpoint: it answers none of them.
        """
        if self.steadiness is not None:
            return
        few, times = x[: max(self.probe.rows, 1)], max(self.probe.repeats, 1)
        replies = self._ask(few.repeat(times, *([1] * (x.ndim - 1))))
        if all(r is None or r.refused for r in replies):
            raise BadEndpoint(
                f"{self.name}: refused or failed on all of {len(few)} clean inputs; nothing can be measured until it answers some"
            )
        self.steadiness = _steadiness(replies, self._labelled(replies).tolist(), len(few), times)

    def sha256(self) -> str:
        """Of the address and of how it is asked and read: not of the model behind it, which nobody sees."""
        known = {"url": self.url, "request": asdict(self.request), "answer": asdict(self.answer)}
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()

    # ---- accounts -------------------------------------------------------------------------------------------------------------------

    @property
    def bill(self) -> Bill:
        """What was spent so far, over all sessions that the journal knows."""
        return self._opened().ledger.bill

    @property
    def known(self) -> Totals:
        """What the journal knew before this session."""
        return self._opened().ledger.before

    def estimate(self, rows: int, queries: float) -> Estimate:
        """What so many queries on each of so many rows cost at most. Sends nothing; retries come on top."""
        ledger = self._opened().ledger
        measured = ledger.ended > 0
        latency = ledger.latency / ledger.ended if measured else ASSUMED
        return estimated(
            rows * queries, batch=self.request.batch, cost=self.cost, concurrency=self.rate.concurrency, interval=self.rate.interval,
            latency=latency, measured=measured,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of connections and journal; the next question opens them again."""
        if self._line is not None:
            self._end()
            self._line.join()
            self._line = None

    # ---- inside ---------------------------------------------------------------------------------------------------------------------

    def _opened(self) -> _Line:
        if self._line is None:
            exchange = Exchange(self.url, self.request, self.timeout, self.authorisation, self._secrets, self.rate.concurrency)
            ledger = Ledger(Journal.at(self.journal), self.sha256(), self.budget, self.cost)
            self._line = _Line(exchange, Triage(self._reader, self.retry, self._secrets), ledger, self.retry, self.rate, self.name)
            self._end = weakref.finalize(self, self._line.close)
        return self._line

    def _ask(self, x: Tensor) -> list[Reply | None]:
        """A reply to each row, from the journal or from the endpoint; None where it failed."""
        line = self._opened()
        replies: dict[int, Reply | None] = {}
        open_: list[tuple[int, Asked]] = []
        for i, row in enumerate(self._wire.rounded(x.detach()).cpu().numpy()):
            packed = self._wire.packed(row)
            key = line.ledger.key(packed)
            known = line.ledger.known(key)
            if known is False:
                open_.append((i, Asked(key, packed)))
            else:
                replies[i] = self._reader.check(known) if isinstance(known, Reply) else None
        size = self.request.batch
        groups = [open_[i : i + size] for i in range(0, len(open_), size)]
        for group, found in zip(groups, line.asked([[asked for _, asked in g] for g in groups]), strict=True):
            replies.update({i: reply for (i, _), reply in zip(group, found, strict=True)})
        self.classes = self._reader.classes or self.classes
        return [replies[i] for i in range(len(x))]

    def _labelled(self, replies: Sequence[Reply | None]) -> Tensor:
        """Predicted classes, int64 (n,); -1 where there is no answer."""
        if self.access < Access.SCORE:
            return torch.tensor(_named(replies), dtype=torch.int64)
        z = self._scored(replies)
        return torch.where(torch.isnan(z).all(1), -1, z.nan_to_num(-torch.inf).argmax(1))

    def _scored(self, replies: Sequence[Reply | None]) -> Tensor:
        """Scores fit for attack, (n, classes); the class that the endpoint names leads, where it names one."""
        shown = [r.scores for r in replies if r is not None and r.scores is not None]
        if not shown and self.classes is None:
            raise BadEndpoint(f"{self.name}: no answer to any of {len(replies)} inputs, so that not even the number of classes is known")
        width = len(shown[0]) if shown else self.classes or 2
        nothing = (torch.nan,) * width
        raw = torch.tensor([nothing if r is None or r.scores is None else r.scores for r in replies], dtype=torch.float64)
        if self.outputs == "auto":
            self.outputs = recognise(raw, self.name)
        z = _columns(KINDS[self.outputs](raw), raw)
        if z.shape[1] < 2:
            raise BadTarget(f"{self.name}: one score for each input; say what it is with outputs = 'sigmoid' or 'binary-logit'")
        return _led(z, _named(replies))


class _Line:
    """An open connection: a loop of its own, the asker in it, and the ledger."""

    def __init__(self, exchange: Exchange, triage: Triage, ledger: Ledger, retry: Retry, rate: Rate, who: str) -> None:
        self.exchange, self.triage, self.ledger, self.retry, self.rate, self.who = exchange, triage, ledger, retry, rate, who
        self._loop: Loop | None = None
        self._asker: Asker | None = None

    def asked(self, requests: Sequence[Sequence[Asked]]) -> list[list[Reply | None]]:
        """The replies to questions that the journal does not know."""
        if not requests:
            return []
        began = time.perf_counter()
        try:
            if self._loop is None:
                self._loop = Loop(self.exchange.close)
            return self._loop.run(self._all(requests))
        finally:
            self.ledger.tick(time.perf_counter() - began)

    def close(self) -> None:
        """Close what is open, without waiting for it."""
        if self._loop is not None:
            self._loop.stop()
        self.ledger.journal.release()

    def join(self) -> None:
        """Wait until it is closed."""
        if self._loop is not None:
            self._loop.join()

    async def _all(self, requests: Sequence[Sequence[Asked]]) -> list[list[Reply | None]]:
        if self._asker is None:
            self._asker = Asker(self.exchange, self.triage, self.ledger, self.retry, self.rate, self.who)
        return await self._asker.all(requests)


def _checked(url: str, authorisation: Authorisation) -> str:
    """The address, whose host is allowed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadTarget(f'{url!r} is no address of an endpoint; write "https://host/path"')
    if parts.username or parts.password or parts.query or "${" in url:
        raise BadTarget(
            f'{parts.scheme}://{parts.hostname}{parts.path}: give user, password and parameters by headers and query, with "${{NAME}}"'
        )
    authorisation.check(parts.hostname, parts.port, "the endpoint's host is")
    return url


def _named(replies: Sequence[Reply | None]) -> list[int]:
    """The classes that the endpoint names; -1 where it names none."""
    return [-1 if r is None or r.label is None else r.label for r in replies]


def _columns(z: Tensor, raw: Tensor) -> Tensor:
    """Scores, NaN throughout where the raw ones are."""
    return torch.where(torch.isnan(raw).all(1)[:, None], torch.nan, z)


def _led(z: Tensor, labels: Sequence[int]) -> Tensor:
    """Scores whose strictly highest is the label's (-1: any), changed only in the rows where it was another's."""
    named = torch.tensor(labels)
    if bool((named >= z.shape[1]).any()):
        raise BadTarget(f"label {int(named.max())} has no score; there are {z.shape[1]}")
    top = z.amax(1)
    other = (named >= 0) & ((z >= top[:, None]).sum(1).gt(1) | (z.argmax(1) != named))
    raised = z.scatter(1, named.clamp_min(0)[:, None], torch.nextafter(top, torch.full_like(top, torch.inf))[:, None])
    return torch.where(other[:, None], raised, z)


def _steadiness(replies: Sequence[Reply | None], labels: Sequence[int], rows: int, times: int) -> Steadiness:
    """Compares the second, third, ... answer of each row with its first."""
    pairs = [(i, i + k * rows) for k in range(1, times) for i in range(rows)]
    flips, moved = sum(labels[a] != labels[b] for a, b in pairs), sum(replies[a] != replies[b] for a, b in pairs)
    return Steadiness(rows, times, flips / max(len(pairs), 1), moved / max(len(pairs), 1))
