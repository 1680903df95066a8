"""The guard's secrets, in one folder that only its user may read: `vauban guard init` makes them, nothing else writes there."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vauban.errors import BadGuard

NAMES = ("token", "identity", "fingerprint", "ledger")
SIZE = 32


@dataclass(frozen=True)
class Keys:
    """All secrets of one guard; every node of it has the same.

    Attributes:
        token: the keys of tokens by their id; the last one signs, all of them verify, so that a key can be changed while tokens are out.
        identity: what devices, accounts and networks are hashed with; no raw identity is stored.
        fingerprint: what fingerprints of images are made with.
        ledger: what the chain of records is made with.
        signing: the private key of receipts and of the ledger's checkpoints.
        publishers: who may sign models, by key id.
    """

    token: Mapping[str, bytes] = field(repr=False)
    identity: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)
    ledger: bytes = field(repr=False)
    signing: Ed25519PrivateKey = field(repr=False)
    publishers: Mapping[str, Ed25519PublicKey] = field(repr=False)

    def hashed(self, kind: str, value: str) -> str:
        """A device, account or network as it is stored: 32 hexadecimal digits that tell nothing without the key.

        Args:
            kind: "device", "account" or "network"; the same value of two kinds has two hashes.
        """
        return hmac.digest(self.identity, f"{kind}\0{value}".encode(), "sha256").hex()[:32]

    @property
    def public(self) -> Ed25519PublicKey:
        """What receipts and checkpoints are verified with."""
        return self.signing.public_key()


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the raw public key."""
    return sha256(raw(key)).hexdigest()[:16]


def raw(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def verified(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the signature is this key's over this message."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def make_keys(folder: Path) -> Keys:
    """New secrets in a new folder of mode 0700.

    Raises:
        BadGuard: there are keys already, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if any(folder.glob("*.json")):
            raise BadGuard(f"{folder}: holds keys already; tokens and the ledger depend on them, so they are not written over")
        for name in NAMES[1:]:
            _write(folder / f"{name}.json", {"key": secrets.token_hex(SIZE)})
        _write(folder / "token.json", {"1": secrets.token_hex(SIZE)})
        _write(folder / "signing.json", {"key": secrets.token_hex(SIZE)})
        (folder / "publishers").mkdir(exist_ok=True)
    except OSError as error:
        raise BadGuard(f"{folder}: cannot be written: {error.strerror or error}") from error
    return read_keys(folder)


def read_keys(folder: Path) -> Keys:
    """The secrets in a folder.

    Raises:
        BadGuard: one is missing, unreadable or no key, or others than its user may read it.
    """
    found = {name: _read(folder / f"{name}.json") for name in (*NAMES, "signing")}
    signing = Ed25519PrivateKey.from_private_bytes(found["signing"]["key"])
    return Keys(
        token=found["token"],
        identity=found["identity"]["key"],
        fingerprint=found["fingerprint"]["key"],
        ledger=found["ledger"]["key"],
        signing=signing,
        publishers=_publishers(folder / "publishers"),
    )


def rotate_token_key(folder: Path) -> str:
    """A new key for tokens, which verifies beside the old ones and signs from the next start on; its id."""
    held = _read(folder / "token.json")
    name = str(max(map(int, held)) + 1)
    _write(folder / "token.json", {k: v.hex() for k, v in list(held.items())[-1:]} | {name: secrets.token_hex(SIZE)})
    return name


def write_publisher(folder: Path, key: Ed25519PublicKey) -> Path:
    """Let the owner of a key sign models for this guard."""
    path = folder / "publishers" / f"{key_id(key)}.pub"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(raw(key).hex() + "\n", encoding="ascii")
    return path


def _publishers(folder: Path) -> dict[str, Ed25519PublicKey]:
    found: dict[str, Ed25519PublicKey] = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(path.read_text(encoding="ascii").strip()))
        except ValueError as error:
            raise BadGuard(f"{path}: is no public key; 64 hexadecimal digits are expected") from error
        found[key_id(key)] = key
    return found


def _read(path: Path) -> dict[str, bytes]:
    try:
        open_to_others = path.stat().st_mode & 0o077
        told = json.loads(path.read_text(encoding="ascii"))
        found = {str(name): bytes.fromhex(value) for name, value in told.items()}
    except FileNotFoundError as error:
        raise BadGuard(f"{path}: no such key; `vauban guard init` makes them") from error
    except OSError as error:
        raise BadGuard(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise BadGuard(f"{path}: is no key file") from error
    if open_to_others:
        raise BadGuard(f"{path}: others than its owner may read it; chmod 600 {path}")
    if not found or any(len(value) != SIZE for value in found.values()):
        raise BadGuard(f"{path}: a key of {SIZE} bytes is expected")
    return found


def _write(path: Path, told: Mapping[str, str]) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
