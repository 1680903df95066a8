"""Who may look and who may act: an operator's key opens a session in the database, whose cookie is signed and whose forms carry a token."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import Literal

from sqlalchemy import Column, Float, String, Table, delete, insert, select, update

from vauban.guard.alerts import alert
from vauban.guard.config import GuardFile
from vauban.guard.config.model import Operator
from vauban.guard.keys import Keys
from vauban.guard.ledger import Ledger
from vauban.guard.storage import METADATA, Store

IDLE, LONGEST = 1800.0, 12 * 3600.0
"""Seconds after which a session ends: without a click, and in any case."""
TOUCH = 60.0
FAILURES, WITHIN = 10, 60.0
"""Wrong keys that are answered in so many seconds; more are not even looked at."""
COOKIE = "vauban_console"
Role = Literal["viewer", "operator", "approver"]
RANK = {"viewer": 0, "operator": 1, "approver": 2}

visits = Table(
    "console_sessions",
    METADATA,
    Column("id", String(64), primary_key=True),  # SHA-256 of what the cookie carries
    Column("operator", String(64), nullable=False),
    Column("key", String(64), nullable=False),  # the hash of the key it was opened with
    Column("opened", Float, nullable=False),
    Column("seen", Float, nullable=False),
)
"""Who is logged in."""


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes:
        name: the operator's.
        role: what the configuration says now, not when the session was opened.
        token: what forms of this session carry.
        id: of the session.
    """

    name: str
    role: Role
    token: str
    id: str

    def may(self, role: Role) -> bool:
        """Whether what this role may do may be done."""
        return RANK[self.role] >= RANK[role]


class TooMany(Exception):
    """Too many wrong keys; nothing more is looked at for a while."""


class Access:
    """Logging in and out.

    Args:
        config: names the operators.
        keys: what cookies and tokens are signed with is made from them.
        store: where sessions are.
        ledger: where it is written who came.
    """

    def __init__(self, config: GuardFile, keys: Keys, store: Store, ledger: Ledger) -> None:
        self.config, self.store, self.ledger = config, store, ledger
        self.secret = hmac.digest(keys.identity, b"console\0cookies", "sha256")
        self.failures: deque[float] = deque()
        self.lock = Lock()

    def operator(self, key: str) -> Operator | None:
        """Whose key it is; all are compared, however soon one fits."""
        given = sha256(key.encode()).hexdigest()
        found = [o for o in self.config.operator if hmac.compare_digest(o.key_sha256, given)]
        return found[0] if found else None

    def login(self, key: str) -> str | None:
        """Open a session; the cookie's value, or None when the key is nobody's.

        Raises:
            TooMany: too many wrong keys came in the last minute.
            GuardDown: the database.
        """
        self._calm()
        operator = self.operator(key)
        if operator is None:
            self._failed()
            return None
        drawn = secrets.token_bytes(32)
        with self.store.write() as tx:
            now = tx.now()
            tx.run(delete(visits).where((visits.c.seen < now - IDLE) | (visits.c.opened < now - LONGEST)))
            told = {"operator": operator.name, "key": operator.key_sha256, "opened": now, "seen": now}
            tx.run(insert(visits).values(id=sha256(drawn).hexdigest(), **told))
            self.ledger.append(tx, "operator", {"operator": operator.name, "act": "login"}, now)
        return f"{_text(drawn)}.{self._code(b'cookie', drawn)}"

    def visitor(self, cookie: str, *, touch: bool = True) -> Visitor | None:
        """Who a cookie belongs to, or None: forged, ended, too old, or of an operator that is no more.

        Args:
            touch: whether this is a click; a page that refreshes itself keeps nobody logged in.
        """
        drawn = self._drawn(cookie)
        if drawn is None:
            return None
        id_ = sha256(drawn).hexdigest()
        with self.store.read() as tx:
            row, now = tx.run(select(visits).where(visits.c.id == id_)).first(), tx.now()
        if row is None or now - row.seen > IDLE or now - row.opened > LONGEST:
            return None
        found = [o for o in self.config.operator if o.name == row.operator and hmac.compare_digest(o.key_sha256, row.key)]
        if not found:
            return None
        if touch and now - row.seen > TOUCH:
            with self.store.write() as tx:
                tx.run(update(visits).where(visits.c.id == id_).values(seen=now))
        return Visitor(found[0].name, found[0].role, self._code(b"form", drawn), id_)

    def logout(self, visitor: Visitor) -> None:
        """End a session, wherever its cookie may be."""
        with self.store.write() as tx:
            tx.run(delete(visits).where(visits.c.id == visitor.id))
            self.ledger.append(tx, "operator", {"operator": visitor.name, "act": "logout"})

    def _drawn(self, cookie: str) -> bytes | None:
        text, _, code = cookie.partition(".")
        try:
            drawn = base64.urlsafe_b64decode(text + "=")
        except ValueError:
            return None
        right = hmac.compare_digest(self._code(b"cookie", drawn).encode(), code.encode())
        return drawn if right and len(drawn) == 32 else None

    def _code(self, use: bytes, drawn: bytes) -> str:
        return hmac.new(self.secret, use + b"\0" + drawn, sha256).hexdigest()

    def _calm(self) -> None:
        with self.lock:
            while self.failures and time.monotonic() - self.failures[0] > WITHIN:
                self.failures.popleft()
            if len(self.failures) >= FAILURES:
                raise TooMany

    def _failed(self) -> None:
        with self.lock:
            self.failures.append(time.monotonic())
            many = len(self.failures) >= FAILURES
        if many:
            with self.store.write() as tx:
                alert(tx, "console-login", "warning", {"wrong_keys": FAILURES, "within_seconds": WITHIN})


def _text(drawn: bytes) -> str:
    return base64.urlsafe_b64encode(drawn).decode("ascii").rstrip("=")
