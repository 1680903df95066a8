"""Sessions: opened once for a key, ended once for all, told to their own party alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from phones import Phone, World, code_of, p256, world
from sqlalchemy import select, text, update

from vauban.errors import GuardDown
from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions import Opening
from vauban.guard.sessions.admission import LATE
from vauban.guard.sessions.receipts import read_receipt
from vauban.guard.sessions.sessions import LOST
from vauban.guard.sessions.tables import sessions


@pytest.fixture
def here(url: str, tmp_path: Path) -> World:
    return world(url, tmp_path)


@pytest.fixture
def light(sqlite_url: str, tmp_path: Path) -> World:
    """For what the kind of database has no part in."""
    return world(sqlite_url, tmp_path)


@pytest.mark.parametrize("phone", [Phone(), p256()], ids=["ed25519", "p256"])
def test_the_whole_way_of_an_accepted_attempt(here: World, phone: Phone) -> None:
    opened = here.open(phone)
    assert opened.attempts == 3 and opened.expires == here.now + 600
    assert here.sessions.result("bank", opened.session_id).status == "open"
    admitted = here.tries(phone, opened)
    assert (admitted.seq, admitted.party, admitted.ensemble, admitted.at) == (1, "bank", "ensemble-1", here.now)
    assert here.sessions.result("bank", opened.session_id).status == "open"
    here.wait(0.5)
    assert here.settle(admitted, accept=True) is False
    found = here.sessions.result("bank", opened.session_id)
    assert (found.status, found.decision, found.used, found.decided_at) == ("decided", "accept", 1, here.now)
    said = read_receipt(here.keys.public, found.receipt)
    assert said == {
        "aud": "bank", "iss": "guard", "purpose": "", "session_id": opened.session_id,
        "status": "decided", "decision": "accept", "used": 1, "decided_at": here.now,
    }  # fmt: skip


def test_what_an_attempt_leaves_for_the_other_parts(here: World) -> None:
    phone = Phone()
    admitted = here.tries(phone, here.open(phone))
    with here.store.write() as tx:
        here.admission.settle(tx, admitted, False, {"a": -12}, {"a": False, "b": None}, ["replay"], 0.25)
    with here.store.read() as tx:
        row = tx.run(select(attempts)).mappings().one()
    assert (row["id"], row["state"], row["accept"], row["node"]) == (admitted.attempt, "decided", False, "node-1")
    assert (row["scores"], row["votes"], row["flags"], row["seconds"]) == ('{"a":-12}', '{"a":false,"b":null}', '["replay"]', 0.25)
    assert (row["device"], row["account"], row["network"]) == (admitted.device, admitted.account, admitted.network)


def test_an_idempotency_key_gives_the_same_session_and_never_a_second_one(here: World) -> None:
    phone = Phone()
    first = here.open(phone, "alice", key="k1")
    here.wait(30)
    assert here.open(phone, "alice", key="k1") == first
    assert here.open(phone, "alice", key="k2").session_id != first.session_id
    assert here.open(phone, "alice", party="shop", key="k1").session_id != first.session_id
    here.tries(phone, first)
    assert here.tries(phone, here.open(phone, "alice", key="k1")).seq == 2
    with here.store.read() as tx:
        assert tx.run(select(sessions.c.id)).all().__len__() == 3


def test_an_idempotency_key_is_good_for_one_request(here: World) -> None:
    phone = Phone()
    here.open(phone, "alice", key="k")
    assert code_of(here.open, Phone(), "alice", key="k") is Code.BAD_REQUEST
    assert code_of(here.open, phone, "bob", key="k") is Code.BAD_REQUEST
    assert code_of(here.sessions.open, "bank", Opening(device_key=phone.public, account="alice", ttl=60), "k", "e") is Code.BAD_REQUEST


def test_a_session_lasts_as_long_as_was_asked_and_never_longer_than_the_guard_allows(light: World) -> None:
    phone = Phone()
    assert light.sessions.open("bank", Opening(device_key=phone.public, ttl=60), None, "e").expires == light.now + 60
    for ttl in (601, 0, -1, float("nan"), float("inf")):
        assert code_of(light.sessions.open, "bank", Opening(device_key=phone.public, ttl=ttl), None, "e") is Code.BAD_REQUEST


def test_a_device_without_a_key_is_a_bad_request_where_devices_sign(light: World) -> None:
    assert code_of(light.sessions.open, "bank", Opening(device="phone-1"), None, "e") is Code.BAD_REQUEST
    assert code_of(light.sessions.open, "bank", Opening(), None, "e") is Code.BAD_REQUEST


def test_foreign_unknown_malformed_and_empty_session_ids_are_the_same_to_a_backend(here: World) -> None:
    opened = here.open(Phone())
    for call in (here.sessions.result, here.sessions.close):
        for party, session_id in (
            ("shop", opened.session_id),
            ("bank", "0" * 32),
            ("bank", ""),
            ("bank", "' OR 1=1 --"),
            ("bank", "\0é" * 50),
        ):
            with pytest.raises(Refused) as error:
                call(party, session_id)
            assert (error.value.code, error.value.why) == (Code.NOT_FOUND, "no session of this party")


def test_a_closed_session_and_an_expired_one_admit_nothing(here: World) -> None:
    phone = Phone()
    closed, expired = here.open(phone), here.open(phone)
    here.sessions.close("bank", closed.session_id)
    here.sessions.close("bank", closed.session_id)
    assert code_of(here.tries, phone, closed) is Code.UNAUTHORISED
    here.wait(599.9)
    here.tries(phone, expired)
    here.wait(0.1)
    assert code_of(here.tries, phone, expired) is Code.UNAUTHORISED
    assert here.sessions.result("bank", closed.session_id).status == "closed"


def test_a_session_that_nobody_used_expires(here: World) -> None:
    opened = here.open(Phone())
    here.wait(600)
    found = here.sessions.result("bank", opened.session_id)
    assert (found.status, found.decision, found.used, found.decided_at) == ("expired", None, 0, None)


def test_a_session_is_rejected_when_its_attempts_are_used_up_and_not_before(here: World) -> None:
    phone = Phone()
    opened = here.open(phone)
    for seq in (1, 2, 3):
        admitted = here.tries(phone, opened)
        here.wait(1)
        here.settle(admitted, accept=False)
        found = here.sessions.result("bank", opened.session_id)
        assert (found.status, found.decision, found.used) == (("open", None, seq) if seq < 3 else ("decided", "reject", 3))
    assert found.decided_at == here.now
    assert code_of(here.tries, phone, opened) is Code.UNAUTHORISED


def test_the_answer_stays_the_same_once_it_was_fetched(here: World) -> None:
    """Two attempts are under way; the first is accepted and fetched; what the other comes to changes no receipt."""
    phone = Phone()
    opened = here.open(phone)
    first, second = here.tries(phone, opened), here.tries(phone, opened)
    here.settle(first, accept=True)
    found = here.sessions.result("bank", opened.session_id)
    assert found.decision == "accept"
    here.settle(second, accept=False)
    here.wait(10_000)
    assert here.sessions.result("bank", opened.session_id) == found
    assert code_of(here.tries, phone, opened) is Code.UNAUTHORISED


def test_in_two_phases_a_device_cannot_tell_from_a_second_attempt_how_the_first_was_decided(here: World) -> None:
    phone = Phone()
    accepted, declined = here.open(phone), here.open(phone)
    here.settle(here.tries(phone, accepted), accept=True)
    here.settle(here.tries(phone, declined), accept=False)
    assert here.tries(phone, accepted).seq == here.tries(phone, declined).seq == 2


def test_told_directly_a_session_ends_with_its_first_accepted_attempt(url: str, tmp_path: Path) -> None:
    here = world(url, tmp_path, session={"mode": "direct"})
    phone = Phone()
    opened = here.open(phone)
    here.settle(here.tries(phone, opened), accept=False)
    here.settle(here.tries(phone, opened), accept=True)
    assert code_of(here.tries, phone, opened) is Code.UNAUTHORISED
    assert here.sessions.result("bank", opened.session_id).decision == "accept"


def test_an_attempt_whose_worker_died_is_spent_and_counts_as_rejected_after_a_minute(here: World) -> None:
    phone = Phone()
    opened = here.open(phone)
    admitted = here.tries(phone, opened)
    here.sessions.close("bank", opened.session_id)
    assert here.sessions.result("bank", opened.session_id).status == "open"
    here.wait(LOST)
    found = here.sessions.result("bank", opened.session_id)
    assert (found.status, found.decision, found.used) == ("decided", "reject", 1)
    with pytest.raises(GuardDown, match="too late"):
        here.settle(admitted, accept=True)
    assert here.sessions.result("bank", opened.session_id) == found


def test_a_decision_comes_in_time_or_not_at_all(here: World) -> None:
    phone = Phone()
    opened = here.open(phone)
    late, in_time = here.tries(phone, opened), here.tries(phone, opened)
    here.wait(LATE)
    here.settle(in_time, accept=False)
    here.wait(0.1)
    with pytest.raises(GuardDown, match="too late"):
        here.settle(late, accept=True)
    assert LATE + 10 < LOST  # a transaction that sleeps is ended after ten seconds: no decision is written after its session was told


def test_an_attempt_is_decided_once(here: World) -> None:
    phone = Phone()
    admitted = here.tries(phone, here.open(phone))
    here.settle(admitted, accept=False)
    with pytest.raises(GuardDown, match="twice"):
        here.settle(admitted, accept=True)


def test_an_attempt_that_came_to_nothing_keeps_nobody_waiting_and_stays_spent(here: World) -> None:
    phone = Phone()
    opened = here.open(phone)
    here.admission.fail(here.tries(phone, opened), "invalid_image")
    here.sessions.close("bank", opened.session_id)
    found = here.sessions.result("bank", opened.session_id)
    assert (found.status, found.decision, found.used, found.decided_at) == ("decided", "reject", 1, here.now)


def test_a_session_keeps_the_number_of_attempts_that_it_was_opened_with(light: World, tmp_path: Path) -> None:
    phone = Phone()
    opened = light.open(phone)
    light.admission.config = light.config.model_copy(update={"session": light.config.session.model_copy(update={"attempts": 5})})
    for _ in range(3):
        light.tries(phone, opened)
    assert code_of(light.tries, phone, opened) is Code.LIMITED


def test_a_deleted_session_is_unauthorised(here: World) -> None:
    phone = Phone()
    opened = here.open(phone)
    with here.store.write() as tx:
        tx.run(sessions.delete())
    assert code_of(here.tries, phone, opened) is Code.UNAUTHORISED


def test_no_raw_name_of_a_device_account_network_or_session_is_in_the_database(here: World) -> None:
    phone = Phone()
    opened = here.open(phone, account="alice@example.org")
    here.settle(here.tries(phone, opened, "198.51.100.0/24"), accept=False)
    with here.store.read() as tx:
        kept = "".join(str(tx.run(text(f"SELECT * FROM {name}")).all()) for name in ("sessions", "attempts", "limits", "locks"))
    for raw in ("alice", "198.51.100", opened.session_id, opened.token):
        assert raw not in kept


@pytest.mark.parametrize("fetched", [False, True])
def test_a_decision_that_somebody_else_wrote_into_the_database_is_never_signed(here: World, fetched: bool) -> None:
    phone = Phone()
    opened = here.open(phone)
    for _ in range(3):
        here.settle(here.tries(phone, opened), accept=False)
    if fetched:
        assert here.sessions.result("bank", opened.session_id).decision == "reject"
        forged = {"status": "decided", "decision": "accept", "used": 3, "decided_at": 1.0}
        change = update(sessions).values(outcome=json.dumps(forged))
    else:
        change = update(attempts).where(attempts.c.seq == 3).values(accept=True)
    with here.store.write() as tx:
        tx.run(change)
    with pytest.raises(GuardDown, match="changed by somebody else"):
        here.sessions.result("bank", opened.session_id)
