"""Many at once in one process: between any two steps of a transaction somebody else may come, and nobody gets more for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from phones import HOME, Phone
from sqlalchemy import Connection, select, text

from vauban.errors import GuardDown
from vauban.guard.config import GuardFile
from vauban.guard.keys import Keys
from vauban.guard.limits.log import unpacked
from vauban.guard.limits.reserve import ORDER
from vauban.guard.limits.tables import attempts, limits, locks
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions import Admission, Admitted, Opening, Sessions
from vauban.guard.sessions.tables import sessions
from vauban.guard.storage import Store

AT_ONCE = 8


def slow_clock(connection: Connection) -> float:
    """The time, read so slowly that others come between."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_sleep(:s)"), {"s": random.uniform(0, 0.01)})
    else:
        time.sleep(random.uniform(0, 0.01))
    return time.time()


@pytest.fixture
def slow_store(url: str) -> Iterator[Store]:
    """A store on a new database, patient, with a slow clock."""
    store = Store(url, patience=20.0, clock=slow_clock)
    store.create()
    yield store
    store.close()


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call gives, or what it raises."""

    def told(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (Refused, GuardDown) as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(told, calls))


def prepared(
    store: Store, keys: Keys, phone: Phone, config: GuardFile, many: int, account: str = "alice", network: str = HOME
) -> list[Callable[[], Admitted]]:
    """Attempts that are ready to be made, one session each."""
    opener, admission = Sessions(store, keys, config), Admission(store, keys, config)

    def one() -> Callable[[], Admitted]:
        opened = opener.open("bank", Opening(device_key=phone.public, account=account), None, "e")
        claim = phone.claim(opened.session_id)
        return lambda: admission.admit(opened.token, claim, network)

    return [one() for _ in range(many)]


def test_of_many_attempts_of_one_device_at_once_exactly_the_limit_is_admitted(slow_store: Store, keys: Keys) -> None:
    config = GuardFile.model_validate({"lockout": {"fails": 99}})
    told = at_once(prepared(slow_store, keys, Phone(), config, 30))
    assert sum(isinstance(one, Admitted) for one in told) == 10
    assert all(isinstance(one, Admitted) or one.code is Code.LIMITED for one in told), told
    with slow_store.read() as tx:
        assert [unpacked(log).total for log in tx.run(select(limits.c.log)).scalars()] == [10] * 5
        assert len(tx.run(select(attempts.c.id)).all()) == 10


def test_of_many_attempts_of_one_session_at_once_exactly_its_number_is_admitted(slow_store: Store, keys: Keys) -> None:
    config, phone = GuardFile(), Phone()
    opened = Sessions(slow_store, keys, config).open("bank", Opening(device_key=phone.public), None, "e")
    admission = Admission(slow_store, keys, config)
    told = at_once([lambda: admission.admit(opened.token, phone.claim(opened.session_id), HOME) for _ in range(16)])
    assert sorted(one.seq for one in told if isinstance(one, Admitted)) == [1, 2, 3]
    with slow_store.read() as tx:
        assert tx.run(select(sessions.c.used)).scalar_one() == 3


def test_one_nonce_sent_many_times_at_once_is_admitted_once(slow_store: Store, keys: Keys) -> None:
    config, phone = GuardFile.model_validate({"session": {"attempts": 20}, "limits": {"device": {"count": 20, "window": "24h"}}}), Phone()
    opened = Sessions(slow_store, keys, config).open("bank", Opening(device_key=phone.public), None, "e")
    admission, claim = Admission(slow_store, keys, config), phone.claim(opened.session_id)
    told = at_once([lambda: admission.admit(opened.token, claim, HOME) for _ in range(12)])
    assert sum(isinstance(one, Admitted) for one in told) == 1
    assert sum(isinstance(one, Refused) and one.code is Code.REPLAY for one in told) == 11
    with slow_store.read() as tx:
        assert tx.run(select(sessions.c.used)).scalar_one() == 12


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_new_devices_accounts_and_networks_crosswise_neither_block_each_other_nor_leak(slow_store: Store, keys: Keys, seed: int) -> None:
    """Rows that are made while others are held could make two wait for each other; the database would end it with an error."""
    config = GuardFile.model_validate({"lockout": {"fails": 99}, "limits": {"account": {"count": 9, "window": "24h"}}})
    groups = [(phone, account, network) for phone in (Phone(), Phone(), Phone()) for account in "xy" for network in "nm"]
    calls = [call for phone, *where in groups for call in prepared(slow_store, keys, phone, config, 3, *where)]
    random.Random(seed).shuffle(calls)
    told = at_once(calls)
    assert not [one for one in told if isinstance(one, GuardDown)]
    assert sum(isinstance(one, Admitted) for one in told) == 18  # 9 for each of the two accounts; no device comes to 10 of its own
    with slow_store.read() as tx:
        totals = [(key[1:].partition(":")[0], unpacked(log).total) for key, log in tx.run(select(limits.c.key, limits.c.log))]
    assert all(sum(total for name, total in totals if name == scope) == 18 for scope in ORDER)


def test_an_idempotency_key_used_many_times_at_once_opens_one_session(slow_store: Store, keys: Keys) -> None:
    opener, opening = Sessions(slow_store, keys, GuardFile()), Opening(device_key=Phone().public)
    told = at_once([lambda: opener.open("bank", opening, "the-same", "e") for _ in range(12)])
    assert len(set(told)) == 1
    with slow_store.read() as tx:
        assert len(tx.run(select(sessions.c.id)).all()) == 1


def test_rejections_written_at_once_are_counted_one_after_the_other(slow_store: Store, keys: Keys) -> None:
    """The fifth locks, though none of the five sees the others' transactions when it begins."""
    config = GuardFile()
    admission = Admission(slow_store, keys, config)
    told = at_once(prepared(slow_store, keys, Phone(), config, 5))

    def reject(admitted: Admitted) -> bool:
        with slow_store.write() as tx:
            return admission.settle(tx, admitted, False, {}, {}, [], 0.1)

    assert sorted(at_once([lambda a=one: reject(a) for one in told])) == [False] * 4 + [True]
    with slow_store.read() as tx:
        assert len(tx.run(select(locks.c.id)).all()) == 1


def test_an_answer_fetched_while_the_attempt_is_decided_is_one_or_the_other_and_stays(slow_store: Store, keys: Keys) -> None:
    config, phone = GuardFile(), Phone()
    opener, admission = Sessions(slow_store, keys, config), Admission(slow_store, keys, config)
    for _ in range(5):
        opened = opener.open("bank", Opening(device_key=phone.public), None, "e")
        admitted = admission.admit(opened.token, phone.claim(opened.session_id), HOME)

        def accept(admitted: Admitted = admitted) -> bool:
            with slow_store.write() as tx:
                return admission.settle(tx, admitted, True, {}, {}, [], 0.1)

        def fetch(opened: Any = opened) -> Any:
            return opener.result("bank", opened.session_id)

        told = at_once([fetch, accept, fetch, fetch])
        assert told[1] is False
        assert {one.decision for one in told if one is not False} <= {None, "accept"}
        assert opener.result("bank", opened.session_id).decision == "accept"
