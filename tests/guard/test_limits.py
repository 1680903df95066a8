"""Limits over sessions: a place in every scope at once, or in none."""

from __future__ import annotations

from pathlib import Path

import pytest
from phones import Phone, World, limited, world
from sqlalchemy import select

from vauban.guard.limits import fills
from vauban.guard.limits.log import unpacked
from vauban.guard.limits.reserve import hold, reserve, scopes_of
from vauban.guard.limits.tables import limits
from vauban.guard.refusal import Refused

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
