"""Asks until there is an answer: retries, backoff, rate, concurrency, patience; everything is in the ledger before it is on the wire."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vauban.errors import BadEndpoint, Malformed, RateLimited, Unreachable
from vauban.target.http.answer import Reply
from vauban.target.http.bill import Ledger
from vauban.target.http.exchange import Exchange, Transient
from vauban.target.http.journal import Key
from vauban.target.http.settings import Rate, Retry
from vauban.target.http.triage import Triage
from vauban.target.http.wire import Packed

HOPELESS = 3
"""Answers that may be unreadable before any was understood."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on its way: which one it is, and its row."""

    key: Key
    row: Packed


class Asker:
    """Lives in one event loop.

    Args:
        who: what errors call the endpoint.
    """

    def __init__(self, exchange: Exchange, triage: Triage, ledger: Ledger, retry: Retry, rate: Rate, who: str) -> None:
        from aiolimiter import AsyncLimiter

        self.exchange, self.triage, self.ledger, self.retry, self.who = exchange, triage, ledger, retry, who
        self._under_way = asyncio.Semaphore(rate.concurrency)
        self._pace = AsyncLimiter(1, rate.interval) if rate.interval else None
        self._not_before = 0.0
        self._garbled, self._failures = 0, 0
        self._over = False
        self._jitter = random.Random()

    async def all(self, requests: Sequence[Sequence[Asked]]) -> list[list[Reply | None]]:
        """The replies to every question of every request; None where there is none after all retries.

        Raises:
            BadEndpoint: it makes no sense to go on. What was under way is given up, and counted.
        """
        self._over = False
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(request)) for request in requests]
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        found = [task.result() for task in tasks]
        for request, replies in zip(requests, found, strict=True):
            if replies and replies[0] is None:
                self.ledger.fail([a.key for a in request])
        return found

    async def _one(self, request: Sequence[Asked]) -> list[Reply | None]:
        """One request with its retries."""
        async with self._under_way:
            try:
                replies = await self._patiently(request)
            except Transient as last:
                self._over = True  # unless this is no reason to stop
                self._gave_up(last)
                self._over = False
                return [None] * len(request)
            except BadEndpoint:
                self._over = True
                raise
        self._failures = 0
        return [*replies]

    async def _patiently(self, request: Sequence[Asked]) -> list[Reply]:
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, stop_before_delay
        from tenacity.wait import wait_random_exponential

        backoff = wait_random_exponential(multiplier=self.retry.first, max=self.retry.most)

        def wait(state: RetryCallState) -> float:
            error = None if state.outcome is None else state.outcome.exception()
            if not isinstance(error, Transient) or error.at_once:
                return 0.0
            return backoff(state) if error.wait is None else error.wait + self._jitter.uniform(0, min(self.retry.first, 1.0))

        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(self.retry.attempts) | stop_before_delay(self.retry.patience),
            retry=retry_if_exception_type(Transient),
            wait=wait,
            reraise=True,
        ):
            with attempt:
                return await self._attempt(request, attempt.retry_state.attempt_number)
        raise AssertionError  # tenacity ends with a result or an error

    async def _attempt(self, request: Sequence[Asked], number: int) -> list[Reply]:
        """One attempt, written down before it is sent and when it has ended."""
        await self._turn()
        if self._over:
            raise asyncio.CancelledError  # another request has shown that it makes no sense to go on: nothing more is sent
        rows, keys, ledger = [a.row for a in request], [a.key for a in request], self.ledger
        line = ledger.begin(number, keys, self.exchange.size(rows))
        began = time.perf_counter()
        try:
            answered = await self.exchange.send(rows)
            replies = self.triage.replies(answered, len(rows))
        except Transient as error:
            outcome = "garbled" if error.garbled else "no answer"
            seconds = time.perf_counter() - began
            ledger.end(line, len(rows), outcome, status=error.status, seconds=seconds, received=error.received, billed=error.billed)
            self._note(error)
            raise
        except BadEndpoint as error:
            ledger.end(line, len(rows), "fatal", status=None, seconds=time.perf_counter() - began)
            raise type(error)(f"{self.who}: {error}") from None
        ledger.answer(line, keys, replies, status=answered.status, seconds=answered.seconds, received=len(answered.body))
        return replies

    async def _turn(self) -> None:
        """Wait for one's turn: until the endpoint's own pause is over, and at the pace that was set."""
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)
        if self._pace is not None:
            await self._pace.acquire()

    def _note(self, error: Transient) -> None:
        """What one failed attempt means for the others.

        Raises:
            Malformed: nothing was ever understood, and this is the third answer.
        """
        if error.wait is not None and error.wait <= self.retry.patience:
            self._not_before = max(self._not_before, time.monotonic() + error.wait)
        if error.garbled and not self.ledger.understood:
            self._garbled += 1
            if self._garbled >= HOPELESS:
                raise Malformed(f"{self.who}: the first {HOPELESS} answers cannot be read as answer says: {error.reason}")

    def _gave_up(self, last: Transient) -> None:
        """A request that failed for good.

        Raises:
            RateLimited: the endpoint asks for more patience than there is.
            Unreachable, Malformed: it never gave a good answer, or none for too long.
        """
        if last.wait is not None and last.wait > self.retry.patience:
            raise RateLimited(
                f"{self.who}: asks to wait {last.wait:,.0f} seconds, more than patience = {self.retry.patience:g}; run the same again later: "
                "it goes on from the journal"
            )
        self._failures += 1
        if not self.ledger.understood or self._failures >= self.retry.give_up:
            many = f"{self._failures} requests in a row failed" if self.ledger.understood else "no request was answered"
            kind = Malformed if last.garbled else Unreachable
            raise kind(f"{self.who}: {many}, each after {self.retry.attempts} attempts; the last: {last.reason}")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell among several that happened at once."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat += [_first(error)] if isinstance(error, BaseExceptionGroup) else [error]
    return next((e for e in flat if not isinstance(e, BadEndpoint)), flat[0])
