"""A share with its interval, and time as pages tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, cast, func

from vauban.guard.storage import Transaction
from vauban.measure.intervals import wilson


@dataclass(frozen=True)
class Share:
    """Hits among rows.

    Attributes:
        low, high: the 95 % Wilson interval.
    """

    hits: int
    rows: int

    @property
    def value(self) -> float | None:
        """None without rows."""
        return self.hits / self.rows if self.rows else None

    @property
    def low(self) -> float:
        return wilson(self.hits, self.rows)[0]

    @property
    def high(self) -> float:
        return wilson(self.hits, self.rows)[1]


def slot(tx: Transaction, column: Any, start: float, width: float) -> ColumnElement[int]:
    """The number of the slot that a time falls into; SQLite cuts where PostgreSQL rounds."""
    number = (column - start) / width
    return cast(number if tx.connection.dialect.name == "sqlite" else func.floor(number), Integer)


def when(seconds: float | None) -> str:
    """A time of the database, in UTC.

    >>> when(0.0), when(None)
    ('1970-01-01 00:00:00', '')
    """
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A duration with one unit.

    >>> [span(s) for s in (0.4, 59, 600, 7200, 259200)]
    ['0 s', '59 s', '10 min', '2 h', '3 d']
    """
    for unit, size, until in (("s", 1, 100), ("min", 60, 5999), ("h", 3600, 172799)):
        if seconds < until:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
