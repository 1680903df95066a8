"""What a device sends with an attempt: all of it is signed, in time, never used before, and for its own session alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from phones import HOME, Phone, World, code_of, world
from sqlalchemy import select

from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code
from vauban.guard.sessions import Claim, Opened, Opening


@pytest.fixture
def here(url: str, tmp_path: Path) -> World:
    return world(url, tmp_path)


@pytest.fixture
def light(sqlite_url: str, tmp_path: Path) -> World:
    """For what the kind of database has no part in."""
    return world(sqlite_url, tmp_path)


def forged(phone: Phone, opened: Opened, at: float, **changed: object) -> Claim:
    good = phone.claim(opened.session_id, at)
    told = {name: getattr(good, name) for name in ("nonce", "timestamp", "signature", "body_sha256", "method", "path")}
    return Claim(**{**told, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"body_sha256": "0" * 64},
        {"nonce": "another-nonce-than-signed"},
        {"timestamp": 1_800_000_001},
        {"method": "PUT"},
        {"path": "/v1/sessions"},
        {"signature": None},
        {"signature": ""},
    ],
)
def test_a_swapped_part_under_a_good_signature_is_unauthorised_and_costs_nothing(light: World, changed: dict[str, object]) -> None:
    phone = Phone()
    opened = light.open(phone)
    assert code_of(light.admission.admit, opened.token, forged(phone, opened, light.now, **changed), HOME) is Code.UNAUTHORISED
    assert light.tries(phone, opened).seq == 1


def test_a_token_is_good_for_its_own_device_alone(light: World) -> None:
    mine, theirs = Phone(), Phone()
    opened, other = light.open(mine), light.open(mine)
    assert code_of(light.tries, theirs, opened) is Code.UNAUTHORISED
    claim = mine.claim(other.session_id, light.now)  # the right device, signed for another session
    assert code_of(light.admission.admit, opened.token, claim, HOME) is Code.UNAUTHORISED


@pytest.mark.parametrize("off, taken", [(-30, True), (30, True), (-31, False), (31, False), (10**11, False)])
def test_a_devices_clock_may_differ_by_half_a_minute_from_the_databases(light: World, off: int, taken: bool) -> None:
    phone = Phone()
    opened = light.open(phone)
    claim = phone.claim(opened.session_id, light.now + off)
    if taken:
        assert light.admission.admit(opened.token, claim, HOME).seq == 1
    else:
        assert code_of(light.admission.admit, opened.token, claim, HOME) is Code.UNAUTHORISED
        assert light.tries(phone, opened).seq == 1


@pytest.mark.parametrize("nonce", ["short", "x" * 65, "with space in the nonce", "nul\0in-the-nonce-too", "émigré-in-the-nonce", ""])
def test_a_nonce_that_is_none_is_a_bad_request(light: World, nonce: str) -> None:
    phone = Phone()
    opened = light.open(phone)
    assert code_of(light.admission.admit, opened.token, forged(phone, opened, light.now, nonce=nonce), HOME) is Code.BAD_REQUEST


def test_a_replayed_nonce_is_told_and_costs_the_session_and_the_device_an_attempt(here: World) -> None:
    phone = Phone()
    opened = here.open(phone)
    claim = phone.claim(opened.session_id, here.now)
    here.admission.admit(opened.token, claim, HOME)
    assert code_of(here.admission.admit, opened.token, claim, HOME) is Code.REPLAY
    assert here.tries(phone, opened).seq == 3
    assert code_of(here.tries, phone, opened) is Code.LIMITED
    with here.store.read() as tx:
        assert len(tx.run(select(attempts.c.id)).all()) == 2
    for _ in range(2):  # 3 of the device's 10 are spent; decided ones, so that the ladder is not what stops it
        session = here.open(phone)
        for _ in range(3):
            here.settle(here.tries(phone, session), accept=True)
    here.tries(phone, here.open(phone))
    assert code_of(here.tries, phone, here.open(phone)) is Code.LIMITED


def test_the_same_nonce_in_another_session_is_another_nonce(here: World) -> None:
    phone = Phone()
    for _ in range(2):
        opened = here.open(phone)
        here.admission.admit(opened.token, phone.claim(opened.session_id, here.now, nonce="n" * 16), HOME)


def test_where_the_backend_vouches_a_name_is_a_device_of_its_party(url: str, tmp_path: Path) -> None:
    here = world(url, tmp_path, session={"device": "named"}, limits={"device": {"count": 2, "window": "24h"}})

    def tries(party: str, device: str) -> None:
        opened = here.sessions.open(party, Opening(device=device), None, "e")
        here.admission.admit(opened.token, Claim(f"nonce-{opened.session_id[:20]}", int(here.now), None, "0" * 64), HOME)

    for party, device in [("bank", "1"), ("bank", "1"), ("shop", "1"), ("bank", "2")]:
        tries(party, device)
    assert code_of(tries, "bank", "1") is Code.LIMITED
    tries("shop", "1")
    signing = Phone()  # a key is asked for where one was named
    opened = here.open(signing)
    assert code_of(here.admission.admit, opened.token, forged(signing, opened, here.now, signature=None), HOME) is Code.UNAUTHORISED
