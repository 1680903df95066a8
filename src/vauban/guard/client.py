"""Both sides of the interface: a backend that opens sessions, a device that hands in attempts; for trying out, probing and besieging."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vauban.errors import BadEndpoint, GuardDown, Unreachable
from vauban.guard.sessions.devices import message

ATTEMPTS, UNAVAILABLE = "/v1/attempts", 503
KINDS = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp"}


@dataclass
class Device:
    """A device with a key of its own.

    Attributes:
        name: for guards where devices have names; the key is used where they have keys.
        key: what it signs with.
        clock: its seconds since 1970.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(8))
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)

    @property
    def public(self) -> str:
        """Its public key as a backend registers it: base64 of the DER form."""
        return base64.b64encode(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def headers(self, session: Session, image: bytes, *, signed: bool = True) -> dict[str, str]:
        """The headers of one attempt."""
        nonce, now = secrets.token_urlsafe(16), int(self.clock())
        said = message("POST", ATTEMPTS, session.session_id, nonce, now, sha256(image).hexdigest())
        found = {
            "Authorization": f"Bearer {session.token}",
            "X-Vauban-Nonce": nonce,
            "X-Vauban-Timestamp": str(now),
            "Content-Type": KINDS.get(image[:2], "image/jpeg"),
        }
        return found | ({"X-Vauban-Signature": base64.b64encode(self.key.sign(said)).decode()} if signed else {})


@dataclass(frozen=True)
class Session:
    """A session as its backend knows it."""

    session_id: str
    token: str = field(repr=False)
    attempts: int


@dataclass
class Client:
    """A guard that is reached over HTTP.

    Args:
        url: of the listener of devices and backends, such as "http://127.0.0.1:8080".
        key: the API key of a relying party.
        http: another client of httpx, for tests.

    Raises (by every method):
        Unreachable: nobody answers.
        GuardDown: the guard says that it is unavailable.
        BadEndpoint: the answer is a refusal, where one was not to be expected.
    """

    url: str
    key: str = field(repr=False)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30), repr=False)

    def open(self, device: Device, account: str | None = None, *, signed: bool = True) -> Session:
        """Open a session for a device."""
        asked: dict[str, Any] = {"device_key": device.public} if signed else {"device": device.name}
        told = self._asked("POST", "/v1/sessions", json=asked | ({"account": account} if account else {})).json()
        return Session(told["session_id"], told["client_token"], told["attempts_allowed"])

    def attempt(
        self, session: Session, device: Device, image: bytes, *, signed: bool = True, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Hand in an attempt; whatever comes is returned."""
        return self._sent("POST", ATTEMPTS, content=image, headers=device.headers(session, image, signed=signed) | dict(headers or {}))

    def result(self, session: Session) -> dict[str, Any]:
        """What became of a session."""
        return self._asked("GET", f"/v1/sessions/{session.session_id}/result").json()

    def close(self, session: Session) -> None:
        """End a session."""
        self._asked("DELETE", f"/v1/sessions/{session.session_id}")

    def _asked(self, method: str, path: str, **sent: Any) -> httpx.Response:
        answer = self._sent(method, path, headers={"Authorization": f"Bearer {self.key}"}, **sent)
        if answer.status_code == UNAVAILABLE:
            raise GuardDown(f"{self.url} is unavailable")
        if answer.is_error:
            raise BadEndpoint(f"{self.url}{path} answered {answer.status_code}: {answer.text[:200]}")
        return answer

    def _sent(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            return self.http.request(method, self.url.rstrip("/") + path, **sent)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url}: nobody answers ({type(error).__name__})") from error
