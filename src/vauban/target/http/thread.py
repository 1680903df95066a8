"""An event loop in a thread of its own, so that attacks stay synchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Loop:
    """Runs coroutines and waits for them.

    Args:
        last: what the thread does when it ends.
    """

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._last = last
        self._thread = threading.Thread(target=self._live, name="vauban-http", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine. When the caller is interrupted, so is the coroutine."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Let the thread end. Never waits: garbage may be collected in any thread, in this very one too."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout=5)

    def _live(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._last())
        self._loop.close()
