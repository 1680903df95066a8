"""The decision: what happens between a request and its answer, in an order that nothing gets around."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256

from vauban.errors import GuardDown
from vauban.guard.config import GuardFile
from vauban.guard.images import Decoder, Picture
from vauban.guard.keys import Keys
from vauban.guard.ledger import Ledger
from vauban.guard.limits.burst import Throttle, require_calm
from vauban.guard.limits.network import Networks
from vauban.guard.metrics import Metrics
from vauban.guard.node import Node
from vauban.guard.quorum import Verdict
from vauban.guard.refusal import Code, Refused
from vauban.guard.rotation.fleet import Fleet
from vauban.guard.rotation.roster import Roster
from vauban.guard.rotation.tick import compare
from vauban.guard.server.shapes import SessionOpened, SessionRequest, SessionResult
from vauban.guard.sessions import Admission, Admitted, Claim, Opening, Sessions
from vauban.guard.storage import Store
from vauban.guard.watch.watch import Watch

log = logging.getLogger("vauban.guard")


@dataclass(frozen=True, slots=True)
class Asked:
    """An attempt as it came.

    Attributes:
        token: the client token.
        nonce: the device's, new for every attempt.
        timestamp: the device's, seconds since 1970.
        signature: the device's over the rest, base64; None where devices have no keys.
        network: where it came from, as it is counted.
        body: the image as it was sent.
        digest: SHA-256 of the body, hexadecimal.
    """

    token: str
    nonce: str
    timestamp: int
    signature: str | None
    network: str
    body: bytes = field(default=b"", repr=False)
    digest: str = ""

    def of(self, body: bytes, digest: str) -> Asked:
        """The same with its body."""
        return replace(self, body=body, digest=digest)


@dataclass(frozen=True)
class Guard:
    """Everything that a decision takes. Any number of threads may ask.

    Attributes:
        node: the name of this process, whose chain of records it writes; held while it runs.
    """

    config: GuardFile
    keys: Keys = field(repr=False)
    store: Store
    node: Node
    sessions: Sessions
    admission: Admission
    networks: Networks
    burst: Throttle
    decoder: Decoder
    roster: Roster
    fleet: Fleet
    watch: Watch
    ledger: Ledger
    metrics: Metrics

    # ---- backends -------------------------------------------------------------------------------------------------------------------

    def open(self, key: str, asked: SessionRequest, idempotency: str | None) -> SessionOpened:
        """Open a session for a device of a relying party.

        Raises:
            Refused: UNAUTHORISED: the key is nobody's; BAD_REQUEST: neither a device nor a key is named, or the idempotency key was used otherwise.
            GuardDown: the database, or there is no live ensemble.
        """
        party = self.party_of(key)
        opening = Opening(asked.device, asked.device_key, asked.account, asked.purpose, asked.ttl)
        told = self.sessions.open(party, opening, idempotency, self.roster.assign)
        return SessionOpened(
            session_id=told.session_id, client_token=told.token, expires_at=_time(told.expires), attempts_allowed=told.attempts
        )

    def result(self, key: str, session_id: str) -> SessionResult:
        """What became of a session of a relying party.

        Raises:
            Refused: UNAUTHORISED or NOT_FOUND.
            GuardDown: the database.
        """
        told = self.sessions.result(self.party_of(key), session_id)
        at = None if told.decided_at is None else _time(told.decided_at)
        return SessionResult(
            session_id=session_id, status=told.status, decision=told.decision, attempts_used=told.used, decided_at=at, receipt=told.receipt
        )

    def close(self, key: str, session_id: str) -> None:
        """End a session of a relying party.

        Raises:
            Refused: UNAUTHORISED or NOT_FOUND.
            GuardDown: the database.
        """
        self.sessions.close(self.party_of(key), session_id)

    def party_of(self, key: str) -> str:
        """The relying party that a key belongs to; all are compared, however soon one fits.

        Raises:
            Refused: UNAUTHORISED.
        """
        given = sha256(key.encode()).hexdigest()
        found = [party.name for party in self.config.relying_party for held in party.hashes if hmac.compare_digest(held, given)]
        if not found:
            raise Refused(Code.UNAUTHORISED, "an API key of nobody")
        return found[0]

    # ---- devices --------------------------------------------------------------------------------------------------------------------

    def network(self, peer: str, forwarded: Sequence[str]) -> str:
        """The network that a request counts for."""
        return self.networks.of(peer, forwarded)

    def throttle(self, network: str) -> None:
        """Count a request of a network before anything is done for it.

        Raises:
            Refused: LIMITED.
        """
        require_calm(self.burst, network)

    def attempt(self, asked: Asked) -> bool:
        """Decide an attempt: reserve, decode, ask all, record, and only then tell.

        Raises:
            Refused: it gets no decision; what it reserved stays spent.
            GuardDown: no decision can be made or written down; what it reserved stays spent.
        """
        began = time.perf_counter()
        claim = Claim(asked.nonce, asked.timestamp, asked.signature, asked.digest)
        admitted = self.admission.admit(asked.token, claim, asked.network)
        try:
            picture = self.decoder.decode(asked.body)
            verdict = self.fleet.ask(admitted.ensemble, picture)
            shadow = self.fleet.shadow(picture)
            with self.store.turn():
                accept = self._decided(admitted, picture, verdict, shadow, began)
        except (Refused, GuardDown) as error:
            self._came_to_nothing(admitted, error)
            raise
        self.metrics.decided(accept, time.perf_counter() - began)
        return accept

    def _decided(self, admitted: Admitted, picture: Picture, verdict: Verdict, shadow: Verdict | None, began: float) -> bool:
        """Write the decision with its record, or make none."""
        seen = self.watch.look(self.watch.pick(picture.pixels))
        with self.store.write() as tx:
            now, recall = tx.now(), self.watch.recall(tx, seen, admitted)
            accept = verdict.accept and not recall.objects
            scores = {v.model: v.quantised for v in verdict.votes if v.quantised is not None}
            votes = {v.model: v.accept for v in verdict.votes}
            self.admission.settle(tx, admitted, accept, scores, votes, recall.flags, time.perf_counter() - began, now)
            self.watch.record(tx, admitted, seen, recall, verdict)
            compare(tx, verdict.accept, shadow)
            self.ledger.append(tx, "decision", {
                "attempt": admitted.attempt, "session": admitted.session, "seq": admitted.seq, "party": admitted.party, "device": admitted.device,
                "accept": accept, "ensemble": admitted.ensemble, "scores": scores, "flags": list(recall.flags), "image": seen.digest,
            }, now)  # fmt: skip
        for flag in recall.flags:
            self.metrics.flagged(flag)
        for model in verdict.missing:
            self.metrics.voteless(model)
        return accept

    def _came_to_nothing(self, admitted: Admitted, error: Refused | GuardDown) -> None:
        """Say so where it can be said; the attempt stays spent either way."""
        why = error.code.word if isinstance(error, Refused) else "down"
        try:
            self.admission.fail(admitted, why)
        except GuardDown as second:
            log.warning("an attempt that came to nothing could not be written down: %s", second)

    # ---- what operators hear of -----------------------------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """A decision could not be made: for the log, never for the asker."""
        if isinstance(error, GuardDown):
            log.error("no decision: %s", error)
        else:
            log.exception("no decision: %s", type(error).__name__, exc_info=error)
        self.metrics.unavailable()

    def refused(self, error: Refused) -> None:
        """A request was refused: counted by its kind."""
        log.info("refused: %s", error.code.word)
        self.metrics.refused(error.code, error.why)

    def stop(self) -> None:
        """Let go of processes, threads and connections."""
        self.fleet.close()
        self.decoder.close()
        self.store.close()


def sizes(fleet: Fleet, watch: Watch) -> frozenset[tuple[int, int]]:
    """The sizes in which pictures are wanted: the models', and that which the watch was calibrated on."""
    return fleet.sizes | ({watch.size} if watch.size else frozenset())


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
