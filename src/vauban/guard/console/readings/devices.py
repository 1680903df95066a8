"""Who asks most, who is locked, and what one device did; devices, accounts and networks are keyed hashes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select

from vauban.guard.config.model import Ceiling, Limits
from vauban.guard.limits.lockout import Lock, locked
from vauban.guard.limits.log import unpacked
from vauban.guard.limits.reserve import key_of
from vauban.guard.limits.tables import attempts, limits, locks
from vauban.guard.storage import Store, Transaction

DAY = 86400.0
LATEST = 100_000
"""Decisions that are looked through for who asks most."""


@dataclass(frozen=True)
class Consumer:
    """One device, account or network.

    Attributes:
        key: its keyed hash.
        attempts: that were decided in the last day, of the latest 100,000.
        accepted: of those.
        used: places that are taken in the present window.
        limit: how many there are.
    """

    key: str
    attempts: int
    accepted: int
    used: int
    limit: Ceiling

    @property
    def full(self) -> float:
        """Share of the limit that is used."""
        return self.used / self.limit.count


@dataclass(frozen=True)
class Attempt:
    """One attempt of a device."""

    id: int
    at: float
    accept: bool | None
    state: str
    flags: tuple[str, ...]
    ensemble: str


@dataclass(frozen=True)
class Quotas:
    """The page.

    Attributes:
        held: locks and blocks in force, latest first.
        scopes: per scope those who ask most.
        party, everyone: the wide ceilings.
    """

    held: tuple[Lock, ...]
    scopes: dict[str, tuple[Consumer, ...]]
    wide: tuple[Consumer, ...]


@dataclass(frozen=True)
class Device:
    """What is known of one device.

    Attributes:
        locks: all there ever were, latest first.
        attempts: the latest.
    """

    key: str
    used: int
    limit: Ceiling
    locks: tuple[Any, ...]
    attempts: tuple[Attempt, ...]
    held: bool


def quotas_of(store: Store, config: Limits, most: int = 12) -> Quotas:
    """Read it.

    Raises:
        GuardDown: the database does not answer.
    """
    with store.read() as tx:
        now = tx.now()
        scopes = {name: _top(tx, name, getattr(config, name), now, most) for name in ("device", "account", "network")}
        return Quotas(tuple(locked(tx)), scopes, (*_top(tx, "party", config.party, now, most), _everyone(tx, config, now)))


def device_of(store: Store, config: Limits, key: str, most: int = 50) -> Device | None:
    """What is known of the one device whose hash begins so; None without one, or with several.

    Args:
        key: at least 8 hexadecimal digits.

    Raises:
        GuardDown: the database does not answer.
    """
    if len(key) < 8 or not set(key) <= set("0123456789abcdef"):
        return None
    with store.read() as tx:
        found = {*_keys(tx, attempts, key), *_keys(tx, locks, key)}
        if len(found) != 1:
            return None
        whole, now = found.pop(), tx.now()
        mine = tx.run(select(attempts).where(attempts.c.device == whole).order_by(attempts.c.at.desc()).limit(most))
        held = tuple(tx.run(select(locks).where(locks.c.device == whole).order_by(locks.c.since.desc()).limit(most)).all())
        used = _used(tx, key_of("device", whole), config.device, now)
        present = any(row.released is None and (row.until is None or row.until > now) for row in held)
        return Device(whole, used, config.device, held, tuple(_attempt(row) for row in mine), present)


def _keys(tx: Transaction, table: Any, key: str) -> list[str]:
    query = select(table.c.device).where(table.c.device >= key, table.c.device <= key + "g").distinct().limit(2)
    return [str(found) for found in tx.run(query).scalars()]


def _attempt(row: Any) -> Attempt:
    return Attempt(row.id, row.at, row.accept, row.state, tuple(json.loads(row.flags or "[]")), row.ensemble)


def _top(tx: Transaction, scope: str, ceiling: Ceiling, now: float, most: int) -> tuple[Consumer, ...]:
    recent = select(attempts.c[scope], attempts.c.accept).where(attempts.c.decided_at > now - DAY)
    latest = recent.order_by(attempts.c.decided_at.desc()).limit(LATEST).subquery()
    column, rows, accepted = latest.c[scope], func.count(), func.sum(case((latest.c.accept, 1), else_=0))
    found = tx.run(select(column, rows, accepted).group_by(column).order_by(rows.desc(), column).limit(most)).all()
    return tuple(Consumer(str(k), int(n), int(a), _used(tx, key_of(scope, k), ceiling, now), ceiling) for k, n, a in found)


def _everyone(tx: Transaction, config: Limits, now: float) -> Consumer:
    used = _used(tx, key_of("everyone", ""), config.everyone, now)
    return Consumer("everyone", used, 0, used, config.everyone)


def _used(tx: Transaction, key: str, ceiling: Ceiling, now: float) -> int:
    log = tx.run(select(limits.c.log).where(limits.c.key == key)).scalar()
    return unpacked(bytes(log)).within(now, ceiling.window).total if log else 0
