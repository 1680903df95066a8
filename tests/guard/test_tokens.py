"""Tokens, signatures of devices and receipts: what was changed in any way is not taken, and every refusal is the same."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from phones import Phone, p256

from vauban.errors import BadGuard
from vauban.guard.keys import make_keys, read_keys, rotate_token_key
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions.devices import device_key, signed
from vauban.guard.sessions.receipts import read_receipt, receipt
from vauban.guard.sessions.tokens import Bearer, Tokens

RING = {"1": b"a" * 32, "2": b"b" * 32}
TOKENS = Tokens(RING, "guard")
BEARER = Bearer("0123456789abcdef" * 2, Phone().public, 1_800_000_600.0)
TOKEN = TOKENS.make(BEARER)


def b64(told: bytes) -> str:
    return base64.urlsafe_b64encode(told).rstrip(b"=").decode()


def refused(token: str, tokens: Tokens = TOKENS) -> None:
    with pytest.raises(Refused) as error:
        tokens.read(token)
    assert error.value.code is Code.UNAUTHORISED


def test_a_token_says_what_was_put_in_and_the_last_key_signs() -> None:
    assert TOKENS.read(TOKEN) == BEARER
    assert TOKEN.startswith("v1.2.") and len(TOKEN) < 1000


def test_the_code_is_hmac_sha256_over_all_that_stands_before_it() -> None:
    before, _, code = TOKEN.rpartition(".")
    assert code == b64(hmac.new(RING["2"], before.encode(), sha256).digest())


def test_a_token_of_an_old_key_is_taken_while_the_key_is_in_the_ring(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    tokens = [Tokens(read_keys(tmp_path / "keys").token, "guard")]
    old = tokens[0].make(BEARER)
    for _ in range(2):
        rotate_token_key(tmp_path / "keys")
        tokens.append(Tokens(read_keys(tmp_path / "keys").token, "guard"))
    assert tokens[1].read(old) == BEARER
    assert tokens[1].make(BEARER).startswith("v1.2.")
    refused(old, tokens[2])
    refused(tokens[2].make(BEARER), tokens[1])


def test_a_token_of_another_guard_with_the_same_keys_is_not_taken() -> None:
    refused(Tokens(RING, "other").make(BEARER))


@settings(deadline=None)
@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="utf-8"))
def test_one_changed_character_is_enough_to_be_refused(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    if changed != TOKEN:
        refused(changed)


@settings(deadline=None)
@given(st.integers(0, len(TOKEN)), st.text(max_size=5), st.integers(0, 5))
def test_what_is_put_in_or_left_out_is_refused(place: int, more: str, less: int) -> None:
    changed = TOKEN[:place] + more + TOKEN[place + less :]
    if changed != TOKEN:
        refused(changed)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=200).map(lambda b: f"v1.2.{b64(b)}.{b64(b[:32])}")))
def test_whatever_comes_as_a_token_is_refused_and_nothing_else(told: str) -> None:
    refused(told)


def forged(kid: str, key: bytes, told: object = None) -> str:
    said = {"sid": BEARER.session, "key": BEARER.device_key, "exp": 2e9, "aud": "guard"} if told is None else told
    start = f"v1.{kid}.{b64(json.dumps(said).encode())}"
    return f"{start}.{b64(hmac.new(key, start.encode(), sha256).digest())}"


def test_the_forgery_of_these_tests_is_taken_with_the_right_key() -> None:
    assert TOKENS.read(forged("1", RING["1"])).expires == 2e9


FORGERIES = {
    "empty": "",
    "only dots": "v1...",
    "another key's code": forged("2", RING["1"]),
    "an unknown key": forged("3", b""),
    "a path as key": forged("../../etc/passwd", b""),
    "a folder as key": forged("..", b""),
    "a line after the key": forged("1\n", RING["1"]),
    "a digit of another script": forged("\u0661", RING["1"]),
    "another version": TOKEN.replace("v1.", "v0.", 1),
    "no algorithm": TOKEN.replace("v1.", "none.", 1),
    "padding": TOKEN + "=",
    "a line after": TOKEN + "\n",
    "a space before": " " + TOKEN,
    "an empty code": TOKEN.rpartition(".")[0] + ".",
    "no code": TOKEN.rpartition(".")[0],
    "too long": TOKEN * 20,
    "a JWT without a signature": f"{b64(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{TOKEN.split('.')[2]}.",
    "a JWT": f"{b64(json.dumps({'alg': 'HS256', 'kid': '2'}).encode())}.{TOKEN.split('.')[2]}.{TOKEN.split('.')[3]}",
}


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES)
def test_forgeries_are_refused(token: str) -> None:
    refused(token)


def test_the_spare_bits_of_the_last_character_are_no_second_token() -> None:
    """43 characters hold 258 bits, 256 are the code's: four spellings decode to the same bytes, one is taken."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for character in alphabet:
        if character != TOKEN[-1]:
            refused(TOKEN[:-1] + character)


def der(public: object) -> str:
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("new", [Phone, p256], ids=["ed25519", "p256"])
def test_a_signature_is_taken_over_its_own_bytes_with_its_own_key_only(new: Callable[[], Phone]) -> None:
    phone = new()
    key, other = device_key(phone.public), device_key(new().public)
    signature = phone.sign(b"said")
    assert signed(key, signature, b"said")
    assert not signed(key, signature, b"Said")
    assert not signed(other, signature, b"said")
    for bad in (
        None,
        "",
        "no base64!",
        signature[:-4],
        signature + "AAAA",
        base64.b64encode(b"\0" * 64).decode(),
        base64.b64encode(b"\0" * 8).decode(),
    ):
        assert not signed(key, bad, b"said")


def test_a_p256_signature_is_taken_as_two_numbers_too() -> None:
    phone = p256()
    r, s = decode_dss_signature(base64.b64decode(phone.sign(b"said")))
    both = base64.b64encode(r.to_bytes(32) + s.to_bytes(32)).decode()
    assert signed(device_key(phone.public), both, b"said")
    assert not signed(device_key(phone.public), both, b"other")


def test_a_key_has_one_form_however_its_point_is_written() -> None:
    """A device that could be written in two ways would be two devices, with two limits."""
    public = p256().key.public_key()
    full = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    start = base64.b64decode(der(public))[: -len(full)]
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    # the same algorithm, a bit string of 33 bytes: the two lengths in the header change
    short = bytes([0x30, len(start) - 2 + len(point)]) + start[2:-3] + bytes([0x03, len(point) + 1, 0x00]) + point
    assert device_key(base64.b64encode(short).decode()) == device_key(der(public)) == der(public)


KINDS = {
    "empty": lambda: "",
    "three bytes": lambda: "AAAA",
    "no base64": lambda: "not base64",
    "P-384": lambda: der(ec.generate_private_key(ec.SECP384R1()).public_key()),
    "secp256k1": lambda: der(ec.generate_private_key(ec.SECP256K1()).public_key()),
    "Ed448": lambda: der(ed448.Ed448PrivateKey.generate().public_key()),
    "X25519": lambda: der(x25519.X25519PrivateKey.generate().public_key()),
    "RSA": lambda: der(rsa.generate_private_key(65537, 2048).public_key()),
    "more after it": lambda: der(Ed25519PrivateKey.generate().public_key()) + "AAAA",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_another_kind_is_a_bad_request(kind: str) -> None:
    with pytest.raises(Refused) as error:
        device_key(KINDS[kind]())
    assert error.value.code is Code.BAD_REQUEST


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_whatever_comes_as_a_key_is_a_bad_request(told: bytes) -> None:
    with pytest.raises(Refused) as error:
        device_key(base64.b64encode(told).decode())
    assert error.value.code is Code.BAD_REQUEST


def test_a_receipt_is_a_json_web_signature_that_anybody_can_check() -> None:
    key = Ed25519PrivateKey.generate()
    told = receipt(key, {"decision": "accept", "session_id": "s"})
    header, body, signature = (base64.urlsafe_b64decode(part + "==") for part in told.split("."))
    assert json.loads(header)["alg"] == "EdDSA"
    assert json.loads(body) == {"decision": "accept", "session_id": "s"}
    key.public_key().verify(signature, told.rpartition(".")[0].encode())
    assert read_receipt(key.public_key(), told) == {"decision": "accept", "session_id": "s"}
    assert receipt(key, {"session_id": "s", "decision": "accept"}) == told


@settings(deadline=None)
@given(st.data())
def test_a_changed_receipt_is_none(data: st.DataObject) -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    told = receipt(key, {"decision": "reject", "session_id": "s"})
    place = data.draw(st.integers(0, len(told) - 1))
    changed = told[:place] + data.draw(st.sampled_from("AZaz09-_.=")) + told[place + 1 :]
    bits = [base64.urlsafe_b64decode(part + "==") for part in changed.split(".")] if changed.count(".") == 2 and "=" not in changed else []
    if bits != [base64.urlsafe_b64decode(part + "==") for part in told.split(".")]:
        with pytest.raises(BadGuard):
            read_receipt(key.public_key(), changed)


def test_a_receipt_of_another_guard_is_none() -> None:
    told = receipt(Ed25519PrivateKey.generate(), {"decision": "accept"})
    with pytest.raises(BadGuard, match="another key"):
        read_receipt(Ed25519PrivateKey.generate().public_key(), told)
