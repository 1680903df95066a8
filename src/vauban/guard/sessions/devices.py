"""A device's public key and what it signs: Ed25519 or P-256, as phones keep them in hardware."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from vauban.guard.refusal import Code, Refused

DeviceKey = Ed25519PublicKey | EllipticCurvePublicKey
RAW = 64
"""Bytes of an Ed25519 signature, and of a P-256 one as the two numbers; longer P-256 ones are DER."""
ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What the DER form of an Ed25519 key has before its 32 bytes (RFC 8410); these alone are read sooner than the whole form."""


def device_key(told: str) -> str:
    """A device's public key in the one form that it is stored and counted in: base64 of its DER, points written in full.

    Args:
        told: base64 of the key's DER form (SubjectPublicKeyInfo).

    Raises:
        Refused: BAD_REQUEST: it is none, or neither Ed25519 nor P-256.
    """
    try:
        key = load_der_public_key(base64.b64decode(told, validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error) as error:
        raise Refused(Code.BAD_REQUEST, "the device's key is no public key") from error
    if not (isinstance(key, Ed25519PublicKey) or (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1))):
        raise Refused(Code.BAD_REQUEST, "the device's key is neither Ed25519 nor P-256")
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def message(method: str, path: str, session: str, nonce: str, timestamp: int, body_sha256: str) -> bytes:
    """What a device signs: six lines.

    >>> message("POST", "/v1/attempts", "s", "n", 1790000000, "ab").decode().splitlines()
    ['POST', '/v1/attempts', 's', 'n', '1790000000', 'ab']
    """
    return "\n".join((method, path, session, nonce, str(timestamp), body_sha256)).encode()


def signed(key: str, signature: str | None, said: bytes) -> bool:
    """Whether a signature is this device's over these bytes.

    Args:
        key: from `device_key`.
        signature: base64; of P-256 with SHA-256, in DER or as the two numbers of 32 bytes.
    """
    try:
        told = base64.b64decode(signature or "", validate=True)
        public = _loaded(key)
        if isinstance(public, Ed25519PublicKey):
            public.verify(told, said)
        else:
            public.verify(_der(told) if len(told) == RAW else told, said, ECDSA(SHA256()))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


@lru_cache(4096)
def _loaded(key: str) -> DeviceKey:
    der = base64.b64decode(key)
    if der.startswith(ED25519):
        return Ed25519PublicKey.from_public_bytes(der[len(ED25519) :])
    found = load_der_public_key(der)
    if not isinstance(found, EllipticCurvePublicKey):
        raise TypeError("a stored key is of another kind")
    return found


def _der(numbers: bytes) -> bytes:
    half = RAW // 2
    return encode_dss_signature(int.from_bytes(numbers[:half]), int.from_bytes(numbers[half:]))
