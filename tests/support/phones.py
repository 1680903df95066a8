"""Devices as the guard's tests need them: a key in the hand, and claims that are signed with it."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vauban.guard.config import GuardFile
from vauban.guard.keys import Keys, make_keys
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions import Admission, Admitted, Claim, Opened, Opening, Sessions
from vauban.guard.sessions.devices import message
from vauban.guard.storage import Store

HOME = "192.0.2.0/24"
BODY = sha256(b"an image").hexdigest()


@dataclass
class Phone:
    """A device with a key."""

    key: Ed25519PrivateKey | EllipticCurvePrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def sign(self, said: bytes) -> str:
        if isinstance(self.key, Ed25519PrivateKey):
            return base64.b64encode(self.key.sign(said)).decode()
        return base64.b64encode(self.key.sign(said, ECDSA(SHA256()))).decode()

    def claim(self, session_id: str, at: float | None = None, nonce: str | None = None, body: str = BODY) -> Claim:
        """A claim as this device sends it."""
        nonce, stamp = nonce or secrets.token_urlsafe(16), int(time.time() if at is None else at)
        return Claim(nonce, stamp, self.sign(message("POST", "/v1/attempts", session_id, nonce, stamp, body)), body)


def p256() -> Phone:
    """A device whose key is of the other kind."""
    return Phone(generate_private_key(SECP256R1()))


@dataclass
class World:
    """A guard's admission with a clock that the test moves, one relying party and as many devices as wanted."""

    store: Store
    keys: Keys
    config: GuardFile
    clock: list[float]

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.store, self.keys, self.config)
        self.admission = Admission(self.store, self.keys, self.config, "node-1")

    @property
    def now(self) -> float:
        return self.clock[0]

    def wait(self, seconds: float) -> None:
        self.clock[0] += seconds

    def open(self, phone: Phone, account: str | None = None, party: str = "bank", key: str | None = None) -> Opened:
        return self.sessions.open(party, Opening(device_key=phone.public, account=account), key, "ensemble-1")

    def tries(self, phone: Phone, session: Opened, network: str = HOME) -> Admitted:
        return self.admission.admit(session.token, phone.claim(session.session_id, self.now), network)

    def settle(self, admitted: Admitted, accept: bool) -> bool:
        with self.store.write() as tx:
            return self.admission.settle(tx, admitted, accept, {"m": 3}, {"m": accept}, [], 0.1)

    def attempt(self, phone: Phone, accept: bool = False, network: str = HOME, account: str | None = None, party: str = "bank") -> bool:
        """A session with one attempt that is decided; whether it locked the device."""
        return self.settle(self.tries(phone, self.open(phone, account, party), network), accept)


def world(url: str, folder: Path, start: float = 1_800_000_000.0, **config: object) -> World:
    """A world on a database; its clock stands still until it is moved."""
    clock = [start]
    store = Store(url, clock=lambda _: clock[0], steady=None)
    store.create()
    return World(store, make_keys(folder / "world-keys"), GuardFile.model_validate(config), clock)


def code_of(call: Callable[..., object], *args: object, **kwargs: object) -> Code:
    """What a call is refused with."""
    with pytest.raises(Refused) as error:
        call(*args, **kwargs)
    return error.value.code


def limited(here: World, phone: Phone, why: str, **where: str) -> float | None:
    """That an attempt is refused for this reason, and how long it is told to wait."""
    session = here.open(phone, where.get("account"), where.get("party", "bank"))
    with pytest.raises(Refused) as error:
        here.tries(phone, session, where.get("network", HOME))
    assert error.value.code is Code.LIMITED and why in error.value.why, error.value.why
    return error.value.retry_after
