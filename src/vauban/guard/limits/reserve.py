"""A place in every scope at once, or in none: the device's, the account's, the network's, the relying party's and everyone's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from vauban.errors import GuardDown
from vauban.guard.config.model import Ceiling, Limits
from vauban.guard.limits.log import Log, unpacked
from vauban.guard.limits.tables import limits
from vauban.guard.refusal import Code, Refused
from vauban.guard.storage import Prepared, Transaction

ORDER = ("device", "account", "network", "party", "everyone")
"""Rows are locked in this order by everybody, so that nobody waits in a circle; those that all share come last."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Something that has a limit.

    Attributes:
        key: of its row; sorts in the order of `ORDER`.
        name: one of `ORDER`.
        ceiling: its limit.
    """

    key: str
    name: str
    ceiling: Ceiling


def scopes_of(config: Limits, device: str, account: str, network: str, party: str) -> tuple[Scope, ...]:
    """The scopes that an attempt needs a place in; the first three are keyed hashes."""
    ids = (device, account, network, party, "")
    return tuple(Scope(key_of(name, id_), name, getattr(config, name)) for name, id_ in zip(ORDER, ids, strict=True))


def key_of(name: str, id_: str) -> str:
    """The key of a scope's row.

    >>> key_of("device", "a1b2")
    '0device:a1b2'
    """
    return f"{ORDER.index(name)}{name}:{id_}"


_NAMES = [f"k{i}" for i in range(len(ORDER))]
_MADE = text(
    "INSERT INTO limits (key, log, until) VALUES (:k0, :empty, 0), (:k1, :empty, 0), (:k2, :empty, 0), (:k3, :empty, 0), (:k4, :empty, 0)"
    " ON CONFLICT (key) DO NOTHING"
)
"""As text: SQLAlchemy would compile an insert of several rows anew for every attempt."""
_HELD = Prepared(
    select(limits.c.key, limits.c.log)
    .where(limits.c.key.in_([bindparam(name) for name in _NAMES]))
    .order_by(limits.c.key)
    .with_for_update()
)
_KEPT = {
    name: Prepared(
        insert(limits).on_conflict_do_update(
            index_elements=["key"], set_={"log": insert(limits).excluded.log, "until": insert(limits).excluded.until}
        )
    )
    for name, insert in (("sqlite", sqlite_insert), ("postgresql", postgres_insert))
}


def hold(tx: Transaction, scopes: Sequence[Scope]) -> dict[str, Log]:
    """The logs of the five scopes, by key; nobody else changes them before this transaction ends.

    Raises:
        GuardDown: a row went away in between, because it had expired.
    """
    keys = dict(zip(_NAMES, (scope.key for scope in scopes), strict=True))
    one_writer = tx.connection.dialect.name == "sqlite"
    if not one_writer:
        # rows are made before the first is locked: who made one while holding later ones would wait for who holds them in order
        tx.run(_MADE, {**keys, "empty": b""})
    found = {key: unpacked(log) for key, log in tx.run(_HELD, keys)}
    if len(found) < len(scopes) and not one_writer:
        raise GuardDown("a limit's row went away while it was to be held")
    return {scope.key: found.get(scope.key, Log()) for scope in scopes}


def reserve(tx: Transaction, scopes: Sequence[Scope], held: dict[str, Log], now: float) -> None:
    """Take a place in all scopes.

    Args:
        held: their logs, from `hold`.
        now: the database's time, read after `hold`.

    Raises:
        Refused: LIMITED; the transaction must be rolled back.
    """
    changed: list[dict[str, object]] = []
    for scope in scopes:
        count, window = scope.ceiling.count, scope.ceiling.window
        log = held[scope.key].within(now, window)
        if log.total >= count:
            raise Refused(Code.LIMITED, f"{scope.name}: {log.total} of {count}", retry_after=log.wait(now, window, count))
        log = log.after(now, window, count)
        changed.append({"key": scope.key, "log": log.packed(), "until": log.last + window})
    tx.run(_KEPT[tx.connection.dialect.name], changed)
