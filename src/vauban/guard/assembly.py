"""A guard put together from its configuration; whatever is not in order is told before anything is served."""

from __future__ import annotations

from pathlib import Path

from vauban.errors import BadGuard
from vauban.guard.config import GuardFile
from vauban.guard.images import Decoder
from vauban.guard.keys import Keys, read_keys
from vauban.guard.ledger import Ledger
from vauban.guard.limits.burst import throttle
from vauban.guard.limits.network import Networks
from vauban.guard.metrics import Metrics
from vauban.guard.node import take
from vauban.guard.rotation.fleet import Fleet
from vauban.guard.rotation.moves import Rotation
from vauban.guard.rotation.roster import Roster, recently_live
from vauban.guard.rotation.seal import only, seal
from vauban.guard.service import Guard, sizes
from vauban.guard.sessions import Admission, Sessions
from vauban.guard.storage import Store
from vauban.guard.watch.watch import Watch


def assembled(config: GuardFile, store: Store | None = None) -> Guard:
    """Open the database and the keys, verify and load the ensembles, start what decodes.

    Args:
        config: from `read_guard`.
        store: another database than the configuration's, for tests.

    Raises:
        BadGuard: a key, a manifest, a calibration or a setting is not as it must be.
        GuardDown: the database cannot be used.
    """
    if not config.relying_party:
        raise BadGuard("no [[relying_party]] may open sessions; `vauban guard key` makes a key for one")
    keys = read_keys(config.beside(config.keys))
    store = store or Store(config.database_url)
    store.create()
    node = take(config.beside(Path(f".{config.name}-nodes")))
    ledger, folder = Ledger(keys, node.name), config.beside(config.models.folder)
    begin(store, config, folder, keys, ledger)
    fleet = Fleet(store, config.models, folder, keys.publishers, config.session.ttl)
    fleet.refresh()
    calibration = config.watch.calibration
    watch = Watch.opened(keys, config.watch, None if calibration is None else config.beside(calibration))
    return Guard(
        config=config,
        keys=keys,
        store=store,
        node=node,
        sessions=Sessions(store, keys, config),
        admission=Admission(store, keys, config, node.name),
        networks=Networks(config.listen.trusted_proxies),
        burst=throttle(config.burst),
        decoder=Decoder(sizes(fleet, watch), config.listen.pixels),
        roster=Roster(keys, config.models, config.limits),
        fleet=fleet,
        watch=watch,
        ledger=ledger,
        metrics=Metrics(),
    )


def begin(store: Store, config: GuardFile, folder: Path, keys: Keys, ledger: Ledger) -> None:
    """Put the one ensemble in service that a new guard finds in its folder; later ones come by `vauban guard models`.

    Raises:
        BadGuard: there is none, or there are several.
    """
    with store.read() as tx:
        if recently_live(tx, 1):
            return
    found = seal(folder, only(folder, keys.publishers, config.models.approvals), keys.publishers)
    Rotation(store, config.models, "guard", ledger.append).begin(found)
