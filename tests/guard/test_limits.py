"""Limits over sessions, and the ladder of locks: a place in every scope at once or in none, and what a lock takes and gives back."""

from __future__ import annotations

from pathlib import Path

import pytest
from phones import HOME, Phone, World, world
from sqlalchemy import select

from vauban.guard.limits import block, fills, locked, release
from vauban.guard.limits.log import unpacked
from vauban.guard.limits.reserve import hold, reserve, scopes_of
from vauban.guard.limits.tables import attempts, limits, locks
from vauban.guard.refusal import Code, Refused

HOUR, DAY = 3600.0, 86400.0
NO_LADDER = {"fails": 10**6}


def fill(here: World) -> dict[str, int]:
    """How full the logs of scopes are, by name."""
    with here.store.read() as tx:
        rows = tx.run(select(limits.c.key, limits.c.log)).all()
    found: dict[str, int] = {}
    for key, log in rows:
        name = key[1:].partition(":")[0]
        found[name] = found.get(name, 0) + unpacked(log).total
    return found


def limited(here: World, phone: Phone, why: str, **where: str) -> float | None:
    """That an attempt is refused for this reason, and how long it is told to wait."""
    session = here.open(phone, where.get("account"), where.get("party", "bank"))
    with pytest.raises(Refused) as error:
        here.tries(phone, session, where.get("network", HOME))
    assert error.value.code is Code.LIMITED and why in error.value.why, error.value.why
    return error.value.retry_after


@pytest.fixture
def here(url: str, tmp_path: Path) -> World:
    return world(url, tmp_path, lockout=NO_LADDER)


def test_ten_attempts_of_a_device_in_any_24_hours(here: World) -> None:
    phone, times = Phone(), []
    for _ in range(10):
        here.attempt(phone)
        times.append(here.now)
        here.wait(HOUR)
    assert limited(here, phone, "device: 10 of 10") == times[0] + DAY - here.now
    here.wait(times[0] + DAY - here.now - 1)
    limited(here, phone, "device")
    here.wait(1)
    here.attempt(phone)
    limited(here, phone, "device: 10 of 10")


def test_what_is_refused_by_one_scope_is_taken_from_none(here: World) -> None:
    phone = Phone()
    for _ in range(10):
        here.attempt(phone)
    before = fill(here)
    assert before == {"device": 10, "account": 10, "network": 10, "party": 10, "everyone": 10}
    for _ in range(5):
        limited(here, phone, "device")
    session = here.open(phone)
    with pytest.raises(Refused):
        here.tries(phone, session)
    assert fill(here) == before
    here.wait(DAY)
    session = here.open(phone)
    assert [here.tries(phone, session).seq for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "scope, config",
    [
        ("account", {"account": {"count": 4, "window": "24h"}}),
        ("network", {"network": {"count": 4, "window": "1h"}}),
        ("party", {"party": {"count": 4, "window": "24h"}}),
        ("everyone", {"everyone": {"count": 4, "window": "24h"}}),
    ],
)
def test_every_scope_counts_over_all_devices_in_it(sqlite_url: str, tmp_path: Path, scope: str, config: dict[str, object]) -> None:
    here = world(sqlite_url, tmp_path, lockout=NO_LADDER, limits=config)
    for _ in range(4):
        here.attempt(Phone(), account="alice")
    limited(here, Phone(), f"{scope}: 4 of 4", account="alice")
    assert fill(here)["everyone"] == 4
    other = {"account": {"account": "bob"}, "network": {"network": "198.51.100.0/24"}, "party": {"party": "shop"}}.get(scope)
    if other is None:
        limited(here, Phone(), "everyone", account="bob", network="198.51.100.0/24", party="shop")
    else:
        here.attempt(Phone(), **{"account": "alice", **other})


def test_devices_without_an_account_are_accounts_of_their_own(here: World) -> None:
    one, two = Phone(), Phone()
    assert here.tries(one, here.open(one)).account == here.tries(one, here.open(one)).account
    assert here.tries(one, here.open(one)).account != here.tries(two, here.open(two)).account


def test_an_account_of_one_party_is_not_that_of_another_but_a_key_is_one_device_everywhere(here: World) -> None:
    phone = Phone()
    bank, shop = (here.tries(phone, here.open(phone, "alice", party)) for party in ("bank", "shop"))
    assert bank.account != shop.account and bank.device == shop.device


def test_ceilings_that_all_share_are_told_before_they_are_reached(url: str, tmp_path: Path) -> None:
    here = world(
        url, tmp_path, lockout=NO_LADDER, limits={"everyone": {"count": 5, "window": "24h"}, "party": {"count": 4, "window": "1h"}}
    )

    def near() -> list[tuple[str, int]]:
        with here.store.read() as tx:
            return [(fill.name, fill.used) for fill in fills(tx, here.config.limits, ["bank", "shop"]) if fill.near]

    told = []
    for party in ("bank", "bank", "shop", "bank"):
        told.append(near())
        here.attempt(Phone(), party=party)
    assert told == [[], [], [], []]
    assert near() == [("everyone", 4)]
    here.attempt(Phone(), party="bank")
    assert near() == [("everyone", 5), ("bank", 4)]
    here.wait(HOUR)
    assert near() == [("everyone", 5)]


def test_a_ceiling_in_the_millions_keeps_a_row_of_a_kilobyte(sqlite_url: str, tmp_path: Path) -> None:
    wide = {"count": 1_000_000, "window": "24h"}
    here = world(sqlite_url, tmp_path, limits=dict.fromkeys(("device", "account", "network", "party", "everyone"), wide))
    scopes = scopes_of(here.config.limits, "d", "a", "n", "bank")
    with here.store.write() as tx:
        for i in range(600):
            reserve(tx, scopes, hold(tx, scopes), here.now + 200.0 * i)
    with here.store.read() as tx:
        rows = tx.run(select(limits.c.key, limits.c.log).order_by(limits.c.key)).all()
    assert [key for key, _ in rows] == [scope.key for scope in scopes]
    assert all(90 * 12 <= len(log) <= 98 * 12 and unpacked(log).total >= 432 for _, log in rows)


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
