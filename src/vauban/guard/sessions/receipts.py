"""Receipts: what a backend was told about a session, as a JSON Web Signature (RFC 7515, EdDSA of RFC 8037) that it can keep and show."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vauban.errors import BadGuard
from vauban.guard.keys import key_id, verified


def receipt(key: Ed25519PrivateKey, told: Mapping[str, Any]) -> str:
    """The receipt of this; the same for the same, however often it is asked for."""
    header = {"alg": "EdDSA", "kid": key_id(key.public_key()), "typ": "vauban-receipt"}
    said = f"{_part(header)}.{_part(told)}"
    return f"{said}.{_text(key.sign(said.encode('ascii')))}"


def read_receipt(key: Ed25519PublicKey, told: str) -> dict[str, Any]:
    """What a receipt says.

    Raises:
        BadGuard: it is none, or not of this key.
    """
    try:
        header, body, signature = told.split(".")
        says, said, signed = json.loads(_bytes(header)), json.loads(_bytes(body)), _bytes(signature)
    except ValueError as error:
        raise BadGuard("this is no receipt") from error
    if says != {"alg": "EdDSA", "kid": key_id(key), "typ": "vauban-receipt"}:
        raise BadGuard("the receipt is of another key, or of no guard")
    if not verified(key, signed, f"{header}.{body}".encode()):
        raise BadGuard("the receipt's signature is wrong")
    return dict(said)


def _part(told: Mapping[str, Any]) -> str:
    return _text(json.dumps(told, sort_keys=True, separators=(",", ":")).encode())


def _text(told: bytes) -> str:
    return base64.urlsafe_b64encode(told).rstrip(b"=").decode("ascii")


def _bytes(told: str) -> bytes:
    return base64.b64decode(told + "=" * (-len(told) % 4), altchars=b"-_", validate=True)
