"""The ladder: so many rejections lock a device for a while, so many locks block it until an operator has looked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Float, bindparam, func, insert, select, update

from vauban.guard.config.model import Lockout
from vauban.guard.limits.reserve import key_of
from vauban.guard.limits.tables import attempts, limits, locks
from vauban.guard.refusal import Code, Refused
from vauban.guard.storage import Prepared, Transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """How a device stands.

    Attributes:
        fails: attempts within the time of the ladder that were not accepted, and that no lock has paid for.
        blocked: whether it waits for an operator.
        until: when its latest lock ends, in the database's seconds; 0 if there was none.
        locks: locks within the time of the ladder.
    """

    fails: int
    blocked: bool
    until: float
    locks: int

    def locked(self, now: float) -> bool:
        """Whether nothing is accepted from it now."""
        return self.blocked or self.until > now


_DEVICE = bindparam("of")
_MINE = (locks.c.device == _DEVICE) & locks.c.released.is_(None)
_CLEARED = select(func.coalesce(func.max(locks.c.cleared), 0.0)).where(locks.c.device == _DEVICE).scalar_subquery()
_RECENT = (attempts.c.device == _DEVICE) & (attempts.c.at > bindparam("after", type_=Float)) & (attempts.c.at > _CLEARED)
_LADDER = [
    select(func.count()).where(_MINE, locks.c.until.is_(None)).scalar_subquery().label("blocked"),
    select(func.coalesce(func.max(locks.c.until), 0.0)).where(_MINE).scalar_subquery().label("until"),
    select(func.count()).where(_MINE, locks.c.since > bindparam("since", type_=Float)).scalar_subquery().label("locks"),
]
_OPEN = Prepared(select(select(func.count()).where(_RECENT, attempts.c.accept.is_not(True)).scalar_subquery().label("fails"), *_LADDER))
_DECIDED = Prepared(select(select(func.count()).where(_RECENT, attempts.c.accept.is_(False)).scalar_subquery().label("fails"), *_LADDER))
_HOLD = Prepared(select(limits.c.key).where(limits.c.key == bindparam("key")).with_for_update())


def standing(tx: Transaction, config: Lockout, device: str, now: float, *, undecided: bool = False) -> Standing:
    """How a device stands.

    Args:
        device: its keyed hash.
        undecided: count attempts without a decision as rejected too, so that nobody gets more by asking many at once.
    """
    asked = {"of": device, "after": now - config.within, "since": now - config.locks_within}
    row = tx.run(_OPEN if undecided else _DECIDED, asked).one()
    return Standing(row.fails, bool(row.blocked), row.until, row.locks)


def require_free(tx: Transaction, config: Lockout, device: str, now: float) -> None:
    """Check that a device may try; its row in the limits is held.

    Raises:
        Refused: LIMITED: it is locked or blocked, or has as many attempts without a decision as would lock it.
    """
    found = standing(tx, config, device, now, undecided=True)
    if found.blocked:
        raise Refused(Code.LIMITED, "the device is blocked until an operator releases it", retry_after=config.lock)
    if found.until > now:
        raise Refused(Code.LIMITED, "the device is locked", retry_after=found.until - now)
    if found.fails >= config.fails:
        raise Refused(Code.LIMITED, f"{found.fails} attempts of the device are rejected or undecided", retry_after=config.within)


def rejected(tx: Transaction, config: Lockout, device: str, now: float) -> bool:
    """An attempt of a device was rejected: lock it if it was the last straw, block it if that was the last lock.

    Returns:
        whether it was locked or blocked.
    """
    tx.run(_HOLD, {"key": key_of("device", device)})  # two rejections at once are counted one after the other
    found = standing(tx, config, device, now)
    if found.locked(now) or found.fails < config.fails:
        return False
    last = found.locks + 1 >= config.locks
    why = f"{found.locks + 1} locks" if last else f"{found.fails} rejections"
    _lock(tx, device, now, None if last else now + config.lock, why, "guard")
    return True


def block(tx: Transaction, device: str, why: str, by: str) -> None:
    """Block a device until it is released.

    Args:
        device: its keyed hash.
        by: the operator.
    """
    _lock(tx, device, tx.now(), None, why[:200], by)


def release(tx: Transaction, device: str, by: str) -> int:
    """End all locks of a device; the ladder begins anew.

    Args:
        device: its keyed hash.
        by: the operator.

    Returns:
        how many locks, ended ones within the ladder's time included, no longer count.
    """
    now = tx.now()
    mine = update(locks).where(locks.c.device == device, locks.c.released.is_(None))
    return int(tx.run(mine.values(released=now, released_by=by, cleared=now)).rowcount)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock in force, for operators.

    Attributes:
        device: keyed hash.
        since, until: the database's seconds; no until for a block.
    """

    device: str
    since: float
    until: float | None
    reason: str
    by: str


def locked(tx: Transaction, most: int = 200) -> list[Lock]:
    """The locks and blocks that are in force, latest first."""
    now = tx.now()
    held = (locks.c.until.is_(None)) | (locks.c.until > now)
    rows = tx.run(select(locks).where(locks.c.released.is_(None), held).order_by(locks.c.since.desc()).limit(most))
    return [Lock(row.device, row.since, row.until, row.reason, row.by) for row in rows]


def _lock(tx: Transaction, device: str, now: float, until: float | None, why: str, by: str) -> None:
    tx.run(insert(locks).values(device=device, since=now, until=until, cleared=now, reason=why, by=by))
