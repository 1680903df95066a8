"""The database: SQLite in WAL mode on one machine, PostgreSQL on several. What fails there is one error, and what is decided there uses its clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Float, MetaData, String, Table, create_engine, event, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vauban.errors import BadGuard, GuardDown
from vauban.guard.storage.prepared import Prepared

METADATA = MetaData()
"""Every table of the guard; each part declares its own."""
PATIENCE = 0.5
"""Seconds that a statement or a lock is waited for; then the guard answers that it is unavailable."""
JUMP = 5.0
"""Seconds by which the database's clock may leave the machine's steady one between two readings."""
SCHEMA = "2"
CACHE, LOGGED = 8192, 4000
"""KiB of pages that a connection to SQLite keeps, and pages that are logged before they go where they belong: marks of images lie all over their
index, and with the defaults most of the work would be reading and writing the same pages again."""
meta = Table("meta", METADATA, Column("name", String(64), primary_key=True), Column("value", String, nullable=False), Column("at", Float))
Clock = Callable[[Connection], float]
_DRIVERS = ("sqlite", "postgresql")
_NOW = "SELECT EXTRACT(EPOCH FROM clock_timestamp())"


@dataclass
class Transaction:
    """One transaction on the database.

    Attributes:
        connection: SQLAlchemy's.
        clock: the database's clock.
    """

    connection: Connection
    clock: Callable[[], float]

    def now(self) -> float:
        """Seconds since 1970 by the database's clock, read anew: after a lock was waited for it is later than before.

        Raises:
            GuardDown: the clock jumped.
        """
        return self.clock()

    def run(self, statement: Any, *parameters: Any) -> Any:
        """Execute a statement: SQLAlchemy's, or one that is prepared."""
        if isinstance(statement, Prepared):
            return statement.run(self.connection, *parameters)
        return self.connection.execute(statement, *parameters)


@dataclass
class Store:
    """The guard's database.

    Args:
        url: "sqlite:///guard.db" or "postgresql+psycopg://user@host/name".
        patience: seconds for a statement, and for a lock.
        clock: for tests: what tells the time instead of the database.
        steady: seconds that only go forward, which the clock is compared to; None compares nothing.

    Raises:
        BadGuard: the URL is none, or names a database that is not supported.
    """

    url: str
    patience: float = PATIENCE
    clock: Clock | None = None
    steady: Callable[[], float] | None = time.monotonic
    engine: Engine = field(init=False, repr=False)
    _steady: _Steady = field(init=False, repr=False)
    _writer: threading.RLock = field(init=False, repr=False, default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.engine = _engine(self.url, self.patience)
        self._steady = _Steady(self.steady)

    @property
    def sqlite(self) -> bool:
        """Whether it is SQLite, which has one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    def create(self) -> None:
        """Make the tables that are not there yet.

        Raises:
            GuardDown: the database cannot be reached or written.
            BadGuard: it was made by another version.
        """
        if self.sqlite and self.engine.url.database:  # fingerprints are personal data: only the owner reads a file that is made here
            try:
                Path(self.engine.url.database).touch(0o600)
            except OSError as error:
                raise GuardDown(f"the database: {error.strerror or error}") from error
        with self._told(), self.engine.begin() as connection:
            if not self.sqlite:  # of several guards that start at once one makes them
                connection.execute(text("SELECT pg_advisory_xact_lock(86253)"))
            METADATA.create_all(connection)
        with self.write() as tx:
            row = tx.run(select(meta.c.value).where(meta.c.name == "schema")).first()
            if row is None:
                tx.run(insert(meta).values(name="schema", value=SCHEMA, at=tx.now()))
            elif row.value != SCHEMA:
                raise BadGuard(f"{self._shown}: has tables of version {row.value}; this guard writes version {SCHEMA}")

    @contextmanager
    def write(self) -> Generator[Transaction]:
        """A transaction that changes something; on SQLite it holds the one place of a writer from its first moment.

        Raises:
            GuardDown: the database is not there, slow, read-only, full, or gave up waiting; nothing was changed.
        """
        with self.turn(), self._told(), self.engine.connect() as bare:
            connection = bare.execution_options(vauban_writes=True)
            with connection.begin():
                yield Transaction(connection, lambda: self._now(connection))

    @contextmanager
    def read(self) -> Generator[Transaction]:
        """A transaction that changes nothing.

        Raises:
            GuardDown: the database is not there or slow.
        """
        with self._told(), self.engine.connect() as connection:
            yield Transaction(connection, lambda: self._now(connection))

    @contextmanager
    def turn(self) -> Generator[None]:
        """The one place of a writer, among the threads of this process: SQLite itself sleeps between two looks, and some thread never gets it.

        Whoever computes just before writing holds it for both: threads that compute at once take the interpreter from each other at every
        statement, and work longer for it. Never wait for anything else in it: the others wait no longer than their patience. With PostgreSQL,
        where statements are waited for, it holds nobody up.

        Raises:
            GuardDown: no turn came.
        """
        if not self.sqlite:
            yield
            return
        if not self._writer.acquire(timeout=self.patience):
            raise GuardDown(f"the database: no thread could write to it within {self.patience:g} s")
        try:
            yield
        finally:
            self._writer.release()

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextmanager
    def _told(self) -> Generator[None]:
        """What the database cannot do is one error, without the statement, which may name people."""
        try:
            yield
        except PoolTimeout as error:
            raise GuardDown("the database: no connection became free") from error
        except (DBAPIError, self.engine.dialect.loaded_dbapi.Error) as error:
            said = error.orig if isinstance(error, DBAPIError) else error
            raise GuardDown(f"the database: {' '.join(str(said).split())[:200]}") from error

    def _now(self, connection: Connection) -> float:
        return self._steady.checked(self.clock(connection) if self.clock else self._time(connection))

    def _time(self, connection: Connection) -> float:
        if self.sqlite:  # it runs in this process, and the machine's clock is the one it reads too
            return time.time()
        return float(connection.exec_driver_sql(_NOW).scalar_one())

    @property
    def _shown(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)


class _Steady:
    """Compares the database's clock to the machine's steady one between two readings: windows of hours are counted by it."""

    def __init__(self, steady: Callable[[], float] | None) -> None:
        self.steady = steady
        self.last: tuple[float, float] | None = None
        self.lock = threading.Lock()

    def checked(self, now: float) -> float:
        """The time, unless it jumped; once it did, every reading fails until the guard is started again."""
        if self.steady is None:
            return now
        steady = self.steady()
        with self.lock:
            last = self.last or (now, steady)
            jumped = (now - last[0]) - (steady - last[1])
            if abs(jumped) > JUMP:
                raise GuardDown(f"the database's clock jumped by {jumped:+.0f} s; set it right and start the guard again")
            self.last = (now, steady)
        return now


def _engine(url: str, patience: float) -> Engine:
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
    except ArgumentError as error:
        raise BadGuard(
            f'database = "{url}" is no database URL; write "sqlite:///guard.db" or "postgresql+psycopg://user@host/name"'
        ) from error
    if name == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise BadGuard(f'database = "{url}" would be gone with the process, limits and ledger too; name a file: "sqlite:///guard.db"')
    if name not in _DRIVERS:
        raise BadGuard(f'database = "{url}": {name} is not supported; use SQLite on one machine, PostgreSQL on several')
    milliseconds = max(1, round(1000 * patience))
    try:
        if name == "sqlite":
            connect = {"timeout": patience, "check_same_thread": False}
            # the connection that wrote last writes next: what another wrote empties its cache
            engine = create_engine(parsed, connect_args=connect, pool_timeout=patience, pool_use_lifo=True)
            _prepare_sqlite(engine)
            return engine
        options = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout=10000"
        connect = {"connect_timeout": 2, "options": options}
        return create_engine(parsed, connect_args=connect, pool_timeout=patience, pool_pre_ping=True, pool_size=8, max_overflow=8)
    except (NoSuchModuleError, ImportError) as error:
        raise BadGuard(
            f'database = "{parsed.render_as_string()}": its driver is not installed; pip install "vauban[guard-cluster]"'
        ) from error


def _prepare_sqlite(engine: Engine) -> None:
    """The driver begins transactions late and by itself; here they begin where the code says."""

    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"cache_size=-{CACHE}", f"wal_autocheckpoint={LOGGED}"):
            connection.execute(f"PRAGMA {pragma}")

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("vauban_writes", False)
        connection.connection.cursor().execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
