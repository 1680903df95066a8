"""Sessions: a backend opens one for a device, hands the device its token, and fetches what came of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from vauban.guard.config.model import GuardFile
from vauban.guard.keys import Keys
from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions.devices import device_key
from vauban.guard.sessions.receipts import receipt
from vauban.guard.sessions.seals import require_same, seal_of_attempt, seal_of_outcome
from vauban.guard.sessions.tables import sessions
from vauban.guard.sessions.tokens import Bearer, Tokens, stored
from vauban.guard.storage import Prepared, Store, Transaction

Assign = Callable[[Transaction, str], str]
LOST = 60.0
"""Seconds after which an attempt without a decision never gets one: whoever worked on it is gone."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a backend asks for.

    Attributes:
        device: the device's id, where the backend vouches for it.
        device_key: the device's public key, base64 of its DER form; every attempt is signed with it, and it is what the device is known by.
        account: whose account it is about; None counts the device as an account of its own.
        purpose: what the decision is for.
        ttl: seconds; None for the guard's own, which is also the longest.
    """

    device: str | None = None
    device_key: str | None = None
    account: str | None = None
    purpose: str | None = None
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A session.

    Attributes:
        session_id: for the backend and the device: 128 bits nobody guesses.
        token: for the device alone.
        expires: the database's seconds since 1970.
        attempts: how many there may be.
    """

    session_id: str
    token: str
    expires: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a session.

    Attributes:
        status: "open": there may be more; "decided"; "expired" or "closed": it ended without an attempt.
        used: attempts, those that came to nothing too.
        decided_at: the database's seconds since 1970.
        receipt: a JSON Web Signature over the rest.
    """

    session_id: str
    status: Literal["open", "decided", "expired", "closed"]
    decision: Literal["accept", "reject"] | None
    used: int
    decided_at: float | None
    receipt: str = ""


_INSERT = {
    name: Prepared(insert(sessions).on_conflict_do_nothing(index_elements=["id"]).returning(sessions.c.id))
    for name, insert in (("sqlite", sqlite_insert), ("postgresql", postgres_insert))
}
_ONE = select(sessions).where(sessions.c.id == bindparam("of"))
_ROW, _HELD = Prepared(_ONE), Prepared(_ONE.with_for_update())
_TRIED = Prepared(
    select(attempts.c.id, attempts.c.state, attempts.c.accept, attempts.c.at, attempts.c.decided_at, attempts.c.mac)
    .where(attempts.c.session == bindparam("of"))
    .order_by(attempts.c.seq)
)
_ENDED = Prepared(update(sessions).where(sessions.c.id == bindparam("of")).values(ended=bindparam("end"), outcome=bindparam("told")))
_CLOSED = Prepared(update(sessions).where(sessions.c.id == bindparam("of"), sessions.c.ended.is_(None)).values(ended=bindparam("end")))


class Sessions:
    """Opens sessions, closes them, and tells what came of them.

    Args:
        store: the database.
        keys: the guard's secrets.
        config: the whole of `guard.toml`.
    """

    def __init__(self, store: Store, keys: Keys, config: GuardFile) -> None:
        self.store, self.keys, self.config = store, keys, config
        self.tokens = Tokens(keys.token, config.name)

    def open(self, party: str, opening: Opening, idempotency_key: str | None, ensemble: str | Assign) -> Opened:
        """A session for one device; the same one again for the same idempotency key of the same party.

        Args:
            ensemble: which one will answer, for as long as the session lasts; or what says so for a hashed device.

        Raises:
            Refused: BAD_REQUEST: the device, the time or a repeated idempotency key with another request.
            GuardDown: the database.
        """
        session = self.keys.hashed("session", f"{party}\0{idempotency_key}") if idempotency_key else secrets.token_hex(16)
        row = self._row(session, party, opening)
        ttl = self._ttl(opening.ttl)
        with self.store.write() as tx:
            now = tx.now()
            row["ensemble"] = ensemble if isinstance(ensemble, str) else ensemble(tx, row["device"])
            row |= {"opened": now, "expires": now + ttl}
            if tx.run(_INSERT[tx.connection.dialect.name], row).first() is None:
                row = _same(tx.run(_ROW, {"of": row["id"]}).one()._asdict(), row)
        token = self.tokens.make(Bearer(session, row["device_key"], row["expires"]))
        return Opened(session, token, row["expires"], row["attempts"])

    def close(self, party: str, session_id: str) -> None:
        """End a session: its token is good for nothing any more. Closing it again changes nothing.

        Raises:
            Refused: NOT_FOUND, for another party's as for none.
            GuardDown: the database.
        """
        with self.store.write() as tx:
            _mine(tx, party, session_id)
            tx.run(_CLOSED, {"of": stored(session_id), "end": tx.now()})

    def result(self, party: str, session_id: str) -> Result:
        """What came of a session. Once it is accepted, or over, fetching it ends it and the answer stays the same.

        Raises:
            Refused: NOT_FOUND, for another party's as for none.
            GuardDown: the database; or what stands in it was not written by a guard with these keys.
        """
        with self.store.write() as tx:
            row = _mine(tx, party, session_id)
            if row["outcome"] is None:
                now = tx.now()
                told = _outcome(row, self._genuine(tx, row["id"]), now)
                if told["status"] != "open":
                    kept = {**told, "seal": seal_of_outcome(self.keys.ledger, row["id"], told)}
                    tx.run(_ENDED, {"of": row["id"], "end": row["ended"] or now, "told": json.dumps(kept)})
            else:
                told = json.loads(row["outcome"])
                require_same(told.pop("seal", None), seal_of_outcome(self.keys.ledger, row["id"], told), "the outcome of a session")
        found = Result(session_id=session_id, **told)
        facts = {key: value for key, value in asdict(found).items() if key != "receipt"}
        facts |= {"aud": party, "iss": self.config.name, "purpose": row["purpose"]}
        return Result(session_id=session_id, **told, receipt=receipt(self.keys.signing, facts))

    def _genuine(self, tx: Transaction, session: str) -> Sequence[Any]:
        """The attempts of a session, once their decisions are found to be the guard's own."""
        tried = tx.run(_TRIED, {"of": session}).all()
        for attempt in tried:
            if attempt.accept is not None:
                mac = seal_of_attempt(self.keys.ledger, attempt.id, session, bool(attempt.accept), attempt.decided_at)
                require_same(None if attempt.mac is None else bytes(attempt.mac), mac, "the decision of an attempt")
        return tried

    def _row(self, session: str, party: str, opening: Opening) -> dict[str, Any]:
        key = device_key(opening.device_key) if opening.device_key else ""
        if self.config.session.device == "signed" and not key:
            raise Refused(Code.BAD_REQUEST, "a device is known by its key here")
        if not key and not opening.device:
            raise Refused(Code.BAD_REQUEST, "neither a device nor its key is named")
        device = self.keys.hashed("device", f"key\0{key}" if key else f"{party}\0{opening.device}")
        account = self.keys.hashed("account", f"{party}\0{opening.account}" if opening.account else f"device\0{device}")
        return {
            "id": stored(session), "party": party, "device": device, "device_key": key, "account": account,
            "purpose": (opening.purpose or "")[:200], "attempts": self.config.session.attempts, "used": 0,
        }  # fmt: skip

    def _ttl(self, asked: float | None) -> float:
        longest = self.config.session.ttl
        if asked is not None and not 0 < asked <= longest:
            raise Refused(Code.BAD_REQUEST, f"a session lasts at most {longest:.0f} s")
        return longest if asked is None else float(asked)


def _mine(tx: Transaction, party: str, session_id: str) -> dict[str, Any]:
    """The row of a party's session, held."""
    row = tx.run(_HELD, {"of": stored(session_id)}).first()
    if row is None or row.party != party:
        raise Refused(Code.NOT_FOUND, "no session of this party")
    return row._asdict()


def _same(held: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The session that an idempotency key was used for, if the request is the same."""
    fixed = ("device", "account", "purpose")
    if any(held[name] != asked[name] for name in fixed) or abs(_length(held) - _length(asked)) > 1e-3:
        raise Refused(Code.BAD_REQUEST, "the idempotency key was used for another request")
    return held


def _length(row: dict[str, Any]) -> float:
    return row["expires"] - row["opened"]


def _outcome(row: dict[str, Any], tried: Sequence[Any], now: float) -> dict[str, Any]:
    """How a session stands: accepted by its first accepted attempt; rejected once it is over and none was."""

    def told(status: str, decision: str | None, at: float | None) -> dict[str, Any]:
        return {"status": status, "decision": decision, "used": row["used"], "decided_at": at}

    accepted = next((attempt for attempt in tried if attempt.accept), None)
    if accepted is not None:
        return told("decided", "accept", accepted.decided_at)
    waiting = any(attempt.state == "reserved" and attempt.at > now - LOST for attempt in tried)
    over = row["ended"] is not None or now >= row["expires"] or row["used"] >= row["attempts"]
    if waiting or not over:
        return told("open", None, None)
    if row["used"] == 0:
        return told("closed" if row["ended"] is not None else "expired", None, None)
    return told("decided", "reject", max((a.decided_at for a in tried if a.decided_at is not None), default=now))
