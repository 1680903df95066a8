"""Signed documents: JSON in one canonical form, with Ed25519 signatures of those who may publish models."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vauban.errors import BadGuard, BadManifest
from vauban.guard.canonical import canonical
from vauban.guard.keys import key_id, raw, verified

LARGEST = 64 << 20
"""Bytes of a document: golden vectors of large inputs make it long, nothing makes it longer."""
DOMAIN = b"vauban model document 1\n"
"""Goes before what is signed, so that a signature means nothing elsewhere."""


def digest(value: object) -> str:
    """SHA-256 of the canonical form, hexadecimal."""
    return sha256(canonical(value).encode()).hexdigest()


def signed(kind: str, value: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """A document of a kind, with a signature."""
    return approved({"kind": kind, "value": dict(value), "signatures": {}}, key)


def approved(document: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """The same document with one more signature."""
    signature = key.sign(_message(document)).hex()
    return {**document, "signatures": {**document["signatures"], key_id(key.public_key()): signature}}


def opened(document: object, kind: str, publishers: Mapping[str, Ed25519PublicKey], where: str, approvals: int = 1) -> dict[str, Any]:
    """What stands in a document, once enough publishers are found to have signed it.

    Args:
        publishers: who may sign, by key id.
        where: what errors call it.
        approvals: how many of them must have.

    Raises:
        BadManifest: it is of another kind, not signed by as many, or changed after they signed it.
    """
    match document:
        case {"kind": str(found), "value": dict(value), "signatures": dict(signatures), **others} if not others:
            message = _message({"kind": found, "value": value})
        case _:
            raise BadManifest(f"{where}: is no signed document; `vauban guard models sign` writes one")
    if found != kind:
        raise BadManifest(f"{where}: is a {found!r:.40}; a {kind!r} is expected here")
    good = {name for name, told in signatures.items() if name in publishers and _verified(publishers[name], told, message)}
    if len(good) < approvals:
        changed = sorted(signatures.keys() & publishers.keys() - good)
        if changed and not good:
            told = f"the signature of {', '.join(changed)}, whom this guard knows, does not fit what stands there now"
            raise BadManifest(f"{where}: was changed after it was signed: {told}")
        held = f"; it names {', '.join(sorted(map(str, signatures)))}, known are {', '.join(publishers) or 'none'}"
        wanted = "no publisher that this guard knows has" if approvals == 1 else f"{len(good)} of the {approvals} publishers needed have"
        raise BadManifest(f"{where}: {wanted} signed it as it stands{held:.300}")
    return value


def read_document(path: Path) -> Any:
    """The JSON in a file, as it stands.

    Raises:
        BadManifest: there is no such file, it is too large, or no JSON.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return json.loads(content.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except FileNotFoundError as error:
        raise BadManifest(f"{path}: no such file") from error
    except OSError as error:
        raise BadManifest(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{path}: is not JSON that is read here: {error}") from error
    raise BadManifest(f"{path}: is larger than {LARGEST} bytes")


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document in one piece."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def make_publisher(path: Path) -> Ed25519PublicKey:
    """A new key to sign models with, in a file of mode 0600; the public half, which guards must know.

    Raises:
        BadGuard: the file is there already.
    """
    key = Ed25519PrivateKey.generate()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            json.dump({"key": key.private_bytes_raw().hex(), "public": raw(key.public_key()).hex()}, file)
    except FileExistsError as error:
        raise BadGuard(f"{path}: is there already; a key is not written over") from error
    return key.public_key()


def read_publisher(path: Path) -> Ed25519PrivateKey:
    """The key that `make_publisher` wrote.

    Raises:
        BadGuard: it is missing, no key, or others may read it.
    """
    try:
        if not path.stat().st_mode & 0o077:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(json.loads(path.read_text(encoding="ascii"))["key"]))
    except OSError as error:
        raise BadGuard(f"{path}: cannot be read: {error.strerror or error}; `vauban guard models key` makes one") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadGuard(f"{path}: is no publisher's key; `vauban guard models key` makes one") from error
    raise BadGuard(f"{path}: others than its owner may read it; chmod 600 {path}")


def _message(document: Mapping[str, Any]) -> bytes:
    return DOMAIN + canonical([document["kind"], document["value"]]).encode()


def _verified(key: Ed25519PublicKey, told: object, message: bytes) -> bool:
    try:
        return verified(key, bytes.fromhex(str(told)), message)
    except ValueError:
        return False


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
