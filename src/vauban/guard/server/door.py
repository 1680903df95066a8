"""What every request passes: so many at a time, what blocks in threads, and failures that become refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vauban.errors import GuardDown
from vauban.guard.refusal import Code, Refused

T = TypeVar("T")
AT_ONCE = 64
"""Requests that are worked on or wait for it, in one process; one more is told that the guard is unavailable."""
THREADS = 4


class Door:
    """The way from the event loop to what decides.

    Args:
        failed: is told what made a decision impossible, for the log and for readiness.
        at_once, threads: how much is let in.
    """

    def __init__(self, failed: Callable[[BaseException], None], at_once: int = AT_ONCE, threads: int = THREADS) -> None:
        self.failed, self.at_once, self.inside = failed, at_once, 0
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="guard")

    async def work(self, call: Callable[[], T]) -> T:
        """Run what blocks in a thread; whoever asked may go away meanwhile, the work is done to its end.

        Raises:
            Refused: what the call raised, or UNAVAILABLE when anything else went wrong: nothing is decided by accident.
        """
        if self.inside >= self.at_once:
            raise Refused(Code.UNAVAILABLE, "too many requests at once")
        self.inside += 1
        done = asyncio.get_running_loop().run_in_executor(self.threads, call)
        done.add_done_callback(self._out)
        try:
            return await asyncio.shield(done)
        except Refused:
            raise
        except Exception as error:
            self.failed(error)
            said = str(error) if isinstance(error, GuardDown) else f"{type(error).__name__}: {error}"
            raise Refused(Code.UNAVAILABLE, said) from error

    def _out(self, done: asyncio.Future[T]) -> None:
        self.inside -= 1
        if not done.cancelled():
            done.exception()

    def close(self) -> None:
        """Finish what is being worked on."""
        self.threads.shutdown(wait=True)
