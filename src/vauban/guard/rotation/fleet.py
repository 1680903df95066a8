"""The quorums that one process has loaded: of the ensemble that is live, of the one on its way, and of those that sessions still hold on to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vauban.errors import BadManifest, GuardDown
from vauban.guard.config.model import Models
from vauban.guard.images import Picture
from vauban.guard.quorum import Quorum, Verdict
from vauban.guard.rotation.roster import Entry, serving
from vauban.guard.rotation.seal import Publishers, sealed
from vauban.guard.rotation.tables import State
from vauban.guard.storage import Store, Transaction

log = logging.getLogger("vauban.guard")


@dataclass
class Fleet:
    """Keeps the quorums that the roster names, and asks them. Any number of threads may.

    Args:
        store: the guard's database.
        models: `[models]`.
        folder: where ensembles lie, absolute.
        publishers: who may sign.
        hold: seconds for which a retired ensemble still decides for sessions that have it: a session's time to live.
    """

    store: Store
    models: Models
    folder: Path
    publishers: Publishers
    hold: float = 600.0
    _held: dict[str, Quorum] = field(init=False, default_factory=dict)
    _shadow: str | None = field(init=False, default=None)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def refresh(self) -> Mapping[str, str]:
        """Load what the roster names and let go of what it no longer does; the names of those held, by id. Called at start and every few seconds.

        Raises:
            BadManifest: an ensemble is not what was signed.
            GuardDown: the database cannot be read.
        """
        with self.store.read() as tx:
            wanted = {e.id: e for e in self._wanted(tx)}
        for entry in wanted.values():
            if entry.state != State.SHADOW:
                self._quorum(entry.id)
        self._follow(next((e for e in wanted.values() if e.state == State.SHADOW), None))
        with self._lock:
            gone = [self._held.pop(i) for i in list(self._held) if i not in wanted]
        for quorum in gone:
            quorum.close()
        return {i: e.name for i, e in wanted.items()}

    @property
    def sizes(self) -> frozenset[tuple[int, int]]:
        """All sizes in which pictures are wanted: `decoder.want(fleet.sizes)` after a refresh."""
        return frozenset(size for quorum in list(self._held.values()) for size in quorum.sizes)

    @property
    def ready(self) -> bool:
        """Whether there is an ensemble that can decide."""
        return any(i != self._shadow for i in self._held)

    def ask(self, ensemble: str, picture: Picture) -> Verdict:
        """What the ensemble that a session was given says.

        Raises:
            GuardDown: it is gone, cannot be loaded, or too few of its models answered.
        """
        quorum = self._held.get(ensemble)
        if quorum is None:
            quorum = self._late(ensemble)
        return quorum.ask(fit(picture, quorum))

    def shadow(self, picture: Picture) -> Verdict | None:
        """What the ensemble in shadow would have said; a verdict without votes where it could not; None where there is none."""
        name = self._shadow
        quorum = self._held.get(name) if name else None
        if name is None or quorum is None:
            return None
        try:
            return quorum.ask(fit(picture, quorum))
        except GuardDown as error:
            log.warning("the ensemble in shadow: %s", error)
            return Verdict(False, (), name)

    def examine(self) -> dict[str, dict[str, str]]:
        """Let every model answer its golden inputs again; what is wrong, by ensemble and model. Called every hour or so."""
        return {i: why for i, quorum in list(self._held.items()) if (why := quorum.examine())}

    def out(self) -> dict[str, dict[str, str]]:
        """The models that are out of service, by ensemble."""
        return {i: quorum.out for i, quorum in list(self._held.items()) if quorum.out}

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            held, self._held, self._shadow = list(self._held.values()), {}, None
        for quorum in held:
            quorum.close()

    def _wanted(self, tx: Transaction) -> list[Entry]:
        return serving(tx, since=tx.now() - self.hold)

    def _late(self, ensemble: str) -> Quorum:
        """An ensemble that another node moved since this one looked."""
        with self.store.read() as tx:
            known = {e.id for e in self._wanted(tx)}
        if ensemble not in known:
            raise GuardDown(f"ensemble {ensemble[:16]} is retired, and longer than a session lasts")
        try:
            return self._quorum(ensemble)
        except BadManifest as error:
            raise GuardDown(f"models: {error}") from error

    def _follow(self, entry: Entry | None) -> None:
        """Take up the ensemble in shadow; one that cannot be loaded must not stop what is live."""
        if entry is not None:
            try:
                self._quorum(entry.id)
            except BadManifest as error:
                log.error("the ensemble in shadow: %s", error)
                entry = None
        self._shadow = entry.id if entry else None

    def _quorum(self, name: str) -> Quorum:
        with self._lock:
            if name not in self._held:
                found = sealed(self.folder, name, self.publishers)
                self._held[name] = found.quorum(self.models.vote, self.models.least, self.models.timeout)
            return self._held[name]


def fit(picture: Picture, quorum: Quorum) -> Picture:
    """The picture in all sizes that a quorum wants, where it was decoded before one of them was known.

    It is scaled from its largest size then, once per session at most; from the next picture on it is decoded to all.
    """
    missing = quorum.sizes - picture.pixels.keys()
    if not missing:
        return picture
    best = picture.pixels[max(picture.pixels)]
    return Picture(dict(picture.pixels) | dict(Picture.fitted(best, missing).pixels))
