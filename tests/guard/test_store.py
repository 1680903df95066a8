"""The database: transactions happen whole or not at all, and what fails is one error."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from vauban.errors import BadGuard, GuardDown
from vauban.guard.storage import Store
from vauban.guard.storage.store import meta


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as tx:
        tx.run(insert(meta).values(name="half", value="done", at=tx.now()))
        raise RuntimeError("in the middle")
    with store.read() as tx:
        assert tx.run(select(meta.c.name)).scalars().all() == ["schema"]


def test_the_time_is_the_databases_and_goes_on_within_a_transaction(store: Store) -> None:
    with store.write() as tx:
        first = tx.now()
        time.sleep(0.02)
        assert tx.now() > first
    assert abs(first - time.time()) < 60


def test_a_second_writer_is_given_up_on_after_its_patience(sqlite_url: str) -> None:
    store = Store(sqlite_url, patience=0.1)
    store.create()

    def other() -> None:
        with store.write():
            pass

    for mine in (store.write, store.turn):
        with mine(), ThreadPoolExecutor(1) as pool, pytest.raises(GuardDown, match="no thread could write"):
            pool.submit(other).result()
    other()
    with store.turn(), store.turn(), store.write() as tx:
        assert tx.run(select(meta.c.name)).all(), "whoever holds a turn writes in it"


def test_whichever_thread_writes_it_is_the_connection_that_wrote_last(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()
    with store.read(), store.read():
        pass  # now there are several
    used: set[int] = set()

    def write(_: int) -> None:
        with store.write() as tx:
            used.add(id(tx.connection.connection.driver_connection))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert len(used) == 1


def test_every_thread_gets_its_turn_however_many_write(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()

    def write(i: int) -> None:
        for k in range(5):
            with store.write() as tx:
                tx.run(insert(meta).values(name=f"{i}-{k}", value="", at=tx.now()))
                time.sleep(0.01)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with store.read() as tx:
        assert len(tx.run(select(meta.c.name)).all()) == 1 + 6 * 5


def test_tables_of_another_version_are_refused(store: Store) -> None:
    with store.write() as tx:
        tx.run(meta.update().values(value="0"))
    with pytest.raises(BadGuard, match="version 0"):
        store.create()


@pytest.mark.parametrize(
    "url, said",
    [
        ("guard.db", "is no database URL"),
        ("mysql://root@localhost/guard", "not supported"),
        ("oracle://x", "not supported"),
        ("sqlite://", "gone with the process"),
        ("sqlite:///:memory:", "gone with the process"),
    ],
)
def test_a_url_that_is_none_is_told(url: str, said: str) -> None:
    with pytest.raises(BadGuard, match=said):
        Store(url)


def test_a_database_that_cannot_be_opened_is_down(tmp_path: Path) -> None:
    with pytest.raises(GuardDown, match="No such file"):
        Store(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}").create()


def test_a_clock_that_jumps_stops_every_decision(sqlite_url: str) -> None:
    told, steady = [1000.0], [0.0]
    store = Store(sqlite_url, clock=lambda _: told[0], steady=lambda: steady[0])
    store.create()
    told[0], steady[0] = 1100.0, 99.0
    with store.read() as tx:
        assert tx.now() == 1100.0
    told[0] = 1094.0
    for _ in range(2):
        with store.read() as tx, pytest.raises(GuardDown, match="clock jumped by -6 s"):
            tx.now()
