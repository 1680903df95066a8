"""The ladder of locks: what takes a device out, for how long, and what an operator gives back."""

from __future__ import annotations

from pathlib import Path

from phones import Phone, limited, world
from sqlalchemy import select

from vauban.guard.limits import block, locked, release
from vauban.guard.limits.tables import attempts, locks

DAY = 86400.0


def test_five_rejections_in_three_minutes_lock_a_device_for_half_an_hour(url: str, tmp_path: Path) -> None:
    here, phone = world(url, tmp_path), Phone()
    locks_ = []
    for _ in range(5):
        locks_.append(here.attempt(phone))
        here.wait(44)
    assert locks_ == [False, False, False, False, True]
    assert limited(here, phone, "locked") == 1800 - 44
    here.attempt(Phone())
    here.wait(1800 - 44 - 0.5)
    limited(here, phone, "locked")
    here.wait(0.5)
    here.attempt(phone)


def test_rejections_that_lie_further_apart_lock_nobody(url: str, tmp_path: Path) -> None:
    here, phone = world(url, tmp_path), Phone()
    for _ in range(9):
        assert not here.attempt(phone)
        here.wait(45.01)


def test_accepted_attempts_neither_count_nor_clear(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path), Phone()
    told = [here.attempt(phone, accept) for accept in (False, True, False, True, False, False, True, False)]
    assert told == [False] * 7 + [True]


def test_nobody_gets_more_by_asking_many_at_once(url: str, tmp_path: Path) -> None:
    """Attempts under way count as rejected until they are accepted."""
    here, phone = world(url, tmp_path), Phone()
    under_way = [here.tries(phone, here.open(phone)) for _ in range(5)]
    assert limited(here, phone, "rejected or undecided") == 180
    here.settle(under_way[0], accept=True)
    under_way.append(here.tries(phone, here.open(phone)))
    limited(here, phone, "rejected or undecided")
    assert [here.settle(attempt, accept=False) for attempt in under_way[1:]] == [False] * 4 + [True]


def test_rejections_that_a_lock_has_paid_for_do_not_count_again(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path, lockout={"fails": 3, "within": "2h", "lock": "10m", "locks": 9}), Phone()
    assert [here.attempt(phone) for _ in range(3)] == [False, False, True]
    here.wait(600)
    assert [here.attempt(phone) for _ in range(3)] == [False, False, True]


def test_the_third_lock_within_a_week_blocks_until_an_operator_releases_it(url: str, tmp_path: Path) -> None:
    here, phone = world(url, tmp_path), Phone()

    def fails() -> None:
        assert [here.attempt(phone) for _ in range(5)] == [False] * 4 + [True]

    for _ in range(3):
        fails()
        here.wait(2 * DAY)
    limited(here, phone, "blocked")
    here.wait(400 * DAY)
    limited(here, phone, "blocked")
    with here.store.write() as tx:
        (held,) = locked(tx)
        assert (held.until, held.by, held.reason) == (None, "guard", "3 locks")
        assert release(tx, held.device, "olivia") == 3
        assert locked(tx) == []
    here.wait(1)
    fails()  # the ladder begins anew: one lock, no block
    with here.store.read() as tx:
        assert [lock.until for lock in locked(tx)] == [here.now + 1800]
        assert tx.run(select(locks.c.released_by).where(locks.c.released.is_not(None))).scalars().all() == ["olivia"] * 3


def test_locks_further_apart_than_a_week_block_nobody(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path), Phone()
    for _ in range(6):
        assert [here.attempt(phone) for _ in range(5)] == [False] * 4 + [True]
        here.wait(3.51 * DAY)


def test_a_released_device_may_try_at_once(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path), Phone()
    for _ in range(5):
        here.attempt(phone)
    with here.store.write() as tx:
        assert release(tx, locked(tx)[0].device, "olivia") == 1
    here.wait(1)
    assert here.attempt(phone) is False


def test_a_release_forgives_what_happened_since_the_lock_too(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path), Phone()
    for _ in range(5):
        here.attempt(phone)
    with here.store.read() as tx:
        device = locked(tx)[0].device
    here.wait(1801)
    assert [here.attempt(phone) for _ in range(4)] == [False] * 4
    with here.store.write() as tx:
        release(tx, device, "olivia")
    here.wait(1)
    assert here.attempt(phone) is False


def test_an_operator_may_block_a_device(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path), Phone()
    device = here.tries(phone, here.open(phone)).device
    with here.store.write() as tx:
        block(tx, device, "seen with a mask", "olivia")
    limited(here, phone, "blocked")
    with here.store.write() as tx:
        assert [(lock.reason, lock.by) for lock in locked(tx)] == [("seen with a mask", "olivia")]
        release(tx, device, "olivia")
    here.wait(1)
    here.attempt(phone)


def test_nobody_locks_a_victim_out_with_another_device(sqlite_url: str, tmp_path: Path) -> None:
    """Locks are a device's, and a device is its key: failing on the victim's account, from its network, locks only who failed."""
    here, victim, attacker = world(sqlite_url, tmp_path), Phone(), Phone()
    for _ in range(5):
        here.attempt(attacker, account="victim")
    limited(here, attacker, "locked", account="victim")
    assert here.attempt(victim, accept=True, account="victim") is False


def test_failed_attempts_hold_a_device_up_but_lock_nobody(sqlite_url: str, tmp_path: Path) -> None:
    here, phone = world(sqlite_url, tmp_path), Phone()
    for _ in range(5):
        here.admission.fail(here.tries(phone, here.open(phone)), "invalid_image")
    limited(here, phone, "rejected or undecided")
    here.wait(180)
    here.attempt(phone)
    with here.store.read() as tx:
        assert tx.run(select(locks)).all() == []
        assert tx.run(select(attempts.c.state).order_by(attempts.c.id)).scalars().all() == ["failed"] * 5 + ["decided"]
