"""The journal: an SQLite file that is written before and after every attempt, so that no answered question is ever asked again.

Three tables. `attempts`: one line for each time something was sent, written before it is sent and completed when it has ended; one that was
never completed was under way when the process died, and is spent. `sent`: which rows travelled in an attempt. `answers`: what became of the
n-th question about the same bytes. Lines are added, and completed once; none is removed.

What is committed outlives the process, however it is killed. Only when the whole machine goes down may the last moments be lost: making sure of
those too would double the time of a question to an endpoint nearby.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from vauban.errors import BadJournal

SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
  id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, attempt INTEGER NOT NULL, rows INTEGER NOT NULL, begun REAL NOT NULL, seconds REAL,
  status INTEGER, outcome TEXT, sent INTEGER NOT NULL, received INTEGER, billed REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sent (attempt INTEGER NOT NULL REFERENCES attempts(id), sha256 TEXT NOT NULL, nth INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
  endpoint TEXT NOT NULL, sha256 TEXT NOT NULL, nth INTEGER NOT NULL, attempt INTEGER, outcome TEXT NOT NULL, answer TEXT NOT NULL,
  PRIMARY KEY (endpoint, sha256, nth)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (endpoint TEXT PRIMARY KEY, seconds REAL NOT NULL);
PRAGMA user_version = 1;
"""
_OPEN: WeakValueDictionary[Path, Journal] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class Key:
    """The n-th question, from 1, about an input whose bytes have this sha256."""

    sha256: str
    nth: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What a journal knows of an endpoint."""

    requests: int = 0
    attempts: int = 0
    ended: int = 0
    rows: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    sent: int = 0
    received: int = 0
    latency: float = 0.0
    money: float = 0.0
    asking: float = 0.0
    first: float | None = None
    last: float | None = None


class Journal:
    """One file, held by one process at a time; two targets of one process share it.

    Raises:
        BadJournal: another process holds it, or it is no journal.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._users = 1
        self._db: sqlite3.Connection | None = None
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            raise BadJournal(_why(path, error)) from error

    @classmethod
    def at(cls, path: Path | None) -> Journal:
        """The journal at a path, or one in memory; the one that is open already, where this process has it open."""
        if path is None:
            return cls(None)
        where = path.resolve()
        found = _OPEN.get(where)
        if found is not None and found._users:
            found._users += 1
            return found
        where.parent.mkdir(parents=True, exist_ok=True)
        _OPEN[where] = found = cls(where)
        return found

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(str(self.path or ":memory:"), timeout=0, check_same_thread=False, isolation_level=None)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, 1):
            raise BadJournal(f"{self.path}: a journal of layout {version}, and this Vauban writes layout 1; give another file")
        db.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
        return db

    def release(self) -> None:
        """One user less; the last one lets go of the file."""
        with self._lock:
            self._users -= 1
            if not self._users and self._db is not None:
                self._db.close()
                self._db = None

    def known(self, endpoint: str, key: Key) -> tuple[str, str] | None:
        """What became of a question: ("answered", "refused" or "failed", the answer), or None where nothing is known."""
        found = self._one(
            "SELECT outcome, answer FROM answers WHERE endpoint = ? AND sha256 = ? AND nth = ?", endpoint, key.sha256, key.nth
        )
        return None if found is None else (found[0], found[1])

    def begin(self, endpoint: str, attempt: int, keys: Sequence[Key], sent: int, billed: float) -> int:
        """Write down an attempt that is about to be sent, as spent and billed; gives its number."""
        with self._transaction() as db:
            row = db.execute(
                "INSERT INTO attempts (endpoint, attempt, rows, begun, sent, billed) VALUES (?, ?, ?, ?, ?, ?)",
                (endpoint, attempt, len(keys), time.time(), sent, billed),
            )
            number = row.lastrowid or 0
            db.executemany("INSERT INTO sent VALUES (?, ?, ?)", [(number, k.sha256, k.nth) for k in keys])
        return number

    def end(self, number: int, outcome: str, *, status: int | None, seconds: float, received: int, billed: float) -> None:
        """Complete an attempt that brought no answer: what became of it, and what it cost after all."""
        with self._transaction() as db:
            self._complete(db, number, outcome, status, seconds, received, billed)

    def answer(
        self,
        endpoint: str,
        number: int,
        answers: Iterable[tuple[Key, str, str]],
        *,
        status: int,
        seconds: float,
        received: int,
        billed: float,
    ) -> None:
        """Complete an attempt together with the answers (key, outcome, text) that it brought."""
        with self._transaction() as db:
            self._complete(db, number, "answered", status, seconds, received, billed)
            lines = [(endpoint, k.sha256, k.nth, number, outcome, text) for k, outcome, text in answers]
            db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", lines)

    def fail(self, endpoint: str, keys: Iterable[Key]) -> None:
        """Write down questions that are left without an answer."""
        with self._transaction() as db:
            lines = [(endpoint, k.sha256, k.nth, None, "failed", "") for k in keys]
            db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", lines)

    def tick(self, endpoint: str, seconds: float) -> None:
        """Add to the time that asking took by the clock."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO clock VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET seconds = seconds + excluded.seconds",
                (endpoint, seconds),
            )

    def totals(self, endpoint: str) -> Totals:
        """All that was spent on an endpoint so far, in this process and before."""
        sent = self._one(
            "SELECT total(attempt = 1), count(*), count(outcome), total(rows), total(sent), total(received), total(seconds), total(billed), "
            "min(begun), max(begun) FROM attempts WHERE endpoint = ?",
            endpoint,
        )
        requests, attempts, ended, rows, size, received = map(int, sent[:6])
        answers = self._one(
            "SELECT total(outcome = 'answered'), total(outcome = 'refused'), total(outcome = 'failed') FROM answers WHERE endpoint = ?",
            endpoint,
        )
        answered, refused, failed = map(int, answers)
        clock = self._one("SELECT total(seconds) FROM clock WHERE endpoint = ?", endpoint)[0]
        return Totals(
            requests, attempts, ended, rows, answered, refused, failed, size, received, float(sent[6]), float(sent[7]), float(clock), *sent[8:]
        )  # fmt: skip

    @staticmethod
    def _complete(
        db: sqlite3.Connection, number: int, outcome: str, status: int | None, seconds: float, received: int, billed: float
    ) -> None:
        db.execute(
            "UPDATE attempts SET outcome = ?, status = ?, seconds = ?, received = ?, billed = ? WHERE id = ? AND outcome IS NULL",
            (outcome, status, seconds, received, billed, number),
        )

    def _one(self, query: str, *values: object) -> Any:
        with self._lock:
            return self._open.execute(query, values).fetchone()

    @property
    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise BadJournal(f"{self.path or 'the journal'} is closed")
        return self._db

    def _transaction(self) -> _Transaction:
        return _Transaction(self._lock, self._open)


class _Transaction:
    """All of it or nothing, one thread at a time."""

    def __init__(self, lock: threading.RLock, db: sqlite3.Connection) -> None:
        self._lock, self._db = lock, db

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")
        finally:
            self._lock.release()


def _why(path: Path | None, error: sqlite3.DatabaseError) -> str:
    if "locked" in str(error) or "busy" in str(error):
        return f"{path}: another process is using this journal; wait until it is done, or give each campaign a journal of its own"
    return f"{path}: cannot be used as a journal: {error}; give another file"
