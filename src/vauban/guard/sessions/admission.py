"""Admission: one transaction that takes an attempt from everything that has a limit, before any work is done for it, and never gives it back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from vauban.errors import GuardDown
from vauban.guard.canonical import canonical
from vauban.guard.config.model import GuardFile
from vauban.guard.keys import Keys
from vauban.guard.limits.lockout import rejected, require_free
from vauban.guard.limits.reserve import hold, reserve, scopes_of
from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions.devices import message, signed
from vauban.guard.sessions.seals import seal_of_attempt
from vauban.guard.sessions.sessions import LOST
from vauban.guard.sessions.tables import sessions
from vauban.guard.sessions.tokens import Bearer, Tokens, stored
from vauban.guard.storage import Prepared, Store, Transaction

LATE = 0.75 * LOST
"""Seconds after which an attempt is decided no more; less than `LOST`, so that no backend was told otherwise."""
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a device sends beside its token and the image.

    Attributes:
        nonce: 16 to 64 letters and digits that it never used before in the session.
        timestamp: its own seconds since 1970.
        signature: base64, over `devices.message`; None where devices have no keys.
        body_sha256: of the body as it came, hexadecimal.
    """

    nonce: str
    timestamp: int
    signature: str | None
    body_sha256: str
    method: str = "POST"
    path: str = "/v1/attempts"


@dataclass(frozen=True, slots=True)
class Admitted:
    """An attempt that was admitted.

    Attributes:
        attempt: its row in `attempts`.
        session: SHA-256 of the session's id.
        seq: the how many-th of the session, from 1.
        party: whose session it is.
        device, account, network: keyed hashes.
        ensemble: that answers.
        at: the database's seconds since 1970.
    """

    attempt: int
    session: str
    seq: int
    party: str
    device: str
    account: str
    network: str
    ensemble: str
    at: float


_TAKE = Prepared(update(sessions).where(sessions.c.id == bindparam("of")).values(used=sessions.c.used + 1).returning(*sessions.c))
_INSERT = {
    name: Prepared(insert(attempts).on_conflict_do_nothing(index_elements=["session", "nonce"]).returning(attempts.c.id))
    for name, insert in (("sqlite", sqlite_insert), ("postgresql", postgres_insert))
}
_SETTLE = Prepared(
    update(attempts)
    .where(attempts.c.id == bindparam("of"), attempts.c.state == "reserved")
    .values({c: bindparam(f"new_{c}") for c in ("state", "accept", "decided_at", "scores", "votes", "flags", "seconds", "mac")})
)
_END = Prepared(update(sessions).where(sessions.c.id == bindparam("of"), sessions.c.ended.is_(None)).values(ended=bindparam("end")))


class Admission:
    """Admits attempts and writes down what became of them.

    Args:
        store: the database.
        keys: the guard's secrets.
        config: the whole of `guard.toml`.
        node: the name of this process's machine, kept with its attempts.
    """

    def __init__(self, store: Store, keys: Keys, config: GuardFile, node: str = "") -> None:
        self.store, self.keys, self.config, self.node = store, keys, config, node
        self.tokens = Tokens(keys.token, config.name)

    def admit(self, token: str, claim: Claim, network: str) -> Admitted:
        """Take an attempt from its session, device, account, network, relying party and everyone, or from none of them.

        When this returns it is committed: whatever happens to this process, the attempt is spent.

        Args:
            network: from `network_of`.

        Raises:
            Refused: UNAUTHORISED (token, session, time or signature), BAD_REQUEST (nonce), LIMITED, or REPLAY, which costs an attempt too.
            GuardDown: the database; then nothing was spent, or nobody can know and it is as if it was.
        """
        bearer = self._checked(token, claim)
        with self.store.write() as tx:
            found = self._taken(tx, bearer, claim, self.keys.hashed("network", network))
        if found is None:
            raise Refused(Code.REPLAY, "the nonce was used before")
        return found

    def settle(
        self,
        tx: Transaction,
        admitted: Admitted,
        accept: bool,
        scores: Mapping[str, int],
        votes: Mapping[str, bool | None],
        flags: Sequence[str],
        seconds: float,
        at: float | None = None,
    ) -> bool:
        """Write a decision; a rejection may lock the device.

        Args:
            at: seconds since 1970, where `tx.now()` was read already.
            scores: of each model, quantised log-odds.
            votes: of each model; None for one that had none.
            flags: what was noticed.
            seconds: that the work took.

        Returns:
            whether the device was locked or blocked by it.

        Raises:
            GuardDown: it comes too late, or again: there is no decision.
        """
        now = tx.now() if at is None else at
        told = {"scores": canonical(scores), "votes": canonical(votes), "flags": canonical(list(flags)), "seconds": seconds}
        mac = seal_of_attempt(self.keys.ledger, admitted.attempt, admitted.session, accept, now)
        self._decided(tx, admitted, now, {"state": "decided", "accept": accept, **told, "mac": mac})
        if accept:
            if self.config.session.mode == "direct":  # its device knows; otherwise a further attempt must not show it
                tx.run(_END, {"of": admitted.session, "end": now})
            return False
        return rejected(tx, self.config.lockout, admitted.device, now)

    def fail(self, admitted: Admitted, why: str) -> None:
        """Write that an attempt came to nothing (the body was no image, too few models answered), so that nobody waits for it.

        It stays spent. Nothing depends on this being called: after a minute an attempt without a decision counts as one that failed.
        """
        with self.store.write() as tx:
            nothing = {"accept": None, "scores": None, "votes": None, "flags": canonical([why]), "seconds": None, "mac": None}
            self._decided(tx, admitted, tx.now(), {"state": "failed", **nothing})

    def _checked(self, token: str, claim: Claim) -> Bearer:
        """What can be checked without the database."""
        bearer = self.tokens.read(token)
        if not _NONCE.fullmatch(claim.nonce):
            raise Refused(Code.BAD_REQUEST, "the nonce is none")
        if bearer.device_key:
            said = message(claim.method, claim.path, bearer.session, claim.nonce, claim.timestamp, claim.body_sha256)
            if not signed(bearer.device_key, claim.signature, said):
                raise Refused(Code.UNAUTHORISED, "the device's signature is wrong")
        elif self.config.session.device == "signed":
            raise Refused(Code.UNAUTHORISED, "the session has no key of a device")
        return bearer

    def _taken(self, tx: Transaction, bearer: Bearer, claim: Claim, network: str) -> Admitted | None:
        """The attempt, or None for a nonce that was used before; both are to be committed."""
        row = tx.run(_TAKE, {"of": stored(bearer.session)}).first()
        if row is None:
            raise Refused(Code.UNAUTHORISED, "no such session")
        scopes = scopes_of(self.config.limits, row.device, row.account, network, row.party)
        held = hold(tx, scopes)
        now = tx.now()
        self._valid(row, bearer, claim, now)
        if row.used > row.attempts:
            raise Refused(Code.LIMITED, "the session has no attempt left")
        require_free(tx, self.config.lockout, row.device, now)
        reserve(tx, scopes, held, now)
        same = {"session": row.id, "seq": row.used, "party": row.party, "device": row.device, "account": row.account}
        same |= {"network": network, "ensemble": row.ensemble, "at": now}
        told = {**same, "nonce": claim.nonce, "node": self.node, "state": "reserved"}
        id_ = tx.run(_INSERT[tx.connection.dialect.name], told).scalar()
        return None if id_ is None else Admitted(attempt=id_, **same)

    def _valid(self, row: Any, bearer: Bearer, claim: Claim, now: float) -> None:
        if row.ended is not None or now >= row.expires or now >= bearer.expires:
            raise Refused(Code.UNAUTHORISED, "the session is over")
        if row.device_key != bearer.device_key:
            raise Refused(Code.UNAUTHORISED, "the token and its session differ")
        if abs(claim.timestamp - now) > self.config.session.skew:
            raise Refused(Code.UNAUTHORISED, f"the device's clock differs by {claim.timestamp - now:+.0f} s")

    def _decided(self, tx: Transaction, admitted: Admitted, now: float, told: Mapping[str, Any]) -> None:
        if now > admitted.at + LATE:
            raise GuardDown("an attempt was decided too late to count")
        values = {f"new_{name}": value for name, value in told.items()} | {"of": admitted.attempt, "new_decided_at": now}
        if tx.run(_SETTLE, values).rowcount != 1:
            raise GuardDown("an attempt was decided twice")
