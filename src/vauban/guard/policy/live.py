"""What a guard's own database and keys say of the ensemble that answers now."""

from __future__ import annotations

from sqlalchemy import func, select

from vauban.guard.config import GuardFile
from vauban.guard.keys import read_keys
from vauban.guard.policy.banking import Live
from vauban.guard.rotation.roster import recently_live
from vauban.guard.rotation.seal import sealed
from vauban.guard.storage import Store
from vauban.guard.watch.tables import inbox

DAY = 86400.0
BEHIND = 30.0
"""Seconds that a decision may wait to be read by the monitors."""


def live_of(config: GuardFile) -> Live | None:
    """The ensemble that is live; None where none is, or no guard was started yet.

    Raises:
        BadGuard: a key or a manifest is not as it must be.
        GuardDown: the database cannot be used.
    """
    keys, store = read_keys(config.beside(config.keys)), Store(config.database_url)
    try:
        store.create()
        with store.read() as tx:
            found, now = recently_live(tx, 2), tx.now()
            oldest = tx.run(select(func.min(inbox.c.at))).scalar()
    finally:
        store.close()
    if not found or found[0].live_at is None:
        return None
    ensemble = sealed(config.beside(config.models.folder), found[0].id, keys.publishers)
    before = found[1].families if len(found) > 1 else None
    return Live(ensemble, (now - found[0].live_at) / DAY, before, oldest is None or now - float(oldest) <= BEHIND)
