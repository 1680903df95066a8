"""What the console needs of a guard."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

from vauban.guard.config import GuardFile
from vauban.guard.keys import Keys
from vauban.guard.ledger import Ledger
from vauban.guard.metrics import Metrics
from vauban.guard.storage import Store
from vauban.guard.watch import Watch

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds that a page may wait for the database: pages count many rows, decisions never do."""
FRESH = 5.0
"""Seconds for which a page that everybody looks at is not read again."""


class Context(Protocol):
    """A guard, as far as its operators look at it."""

    @property
    def config(self) -> GuardFile: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def store(self) -> Store: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def watch(self) -> Watch: ...


@dataclass(frozen=True)
class Desk:
    """A guard with a database connection of the console's own.

    Attributes:
        guard: whose.
        store: the same database, with patience.
    """

    guard: Context
    store: Store
    _kept: dict[str, tuple[float, Any]] = field(default_factory=dict[str, tuple[float, Any]], repr=False)
    _locks: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock), repr=False)

    @classmethod
    def of(cls, guard: Context) -> Desk:
        """The desk of a guard."""
        return cls(guard, replace(guard.store, patience=PATIENCE))

    def recent(self, name: str, read: Callable[[], T], fresh: float | None = None) -> T:
        """What was read under this name in the last seconds, or is read now; however many look, it is read once."""
        with self._locks[name]:
            at, found = self._kept.get(name, (float("-inf"), None))
            if time.monotonic() - at < (FRESH if fresh is None else fresh):
                return cast("T", found)
            made = read()
            self._kept[name] = (time.monotonic(), made)
            return made

    def forget(self) -> None:
        """Read everything anew: somebody has just changed something."""
        self._kept.clear()
