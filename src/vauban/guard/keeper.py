"""What is done between requests: monitors are advanced, the ledger is signed, alerts are sent, what has expired is forgotten."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vauban.errors import BadLedger, GuardDown
from vauban.guard.alerts.board import alert
from vauban.guard.alerts.webhooks import Sender, hooks_of
from vauban.guard.limits import fills
from vauban.guard.rotation.moves import Rotation
from vauban.guard.rotation.tick import Keeper as Roller
from vauban.guard.service import Guard, sizes
from vauban.guard.sessions import forget

log = logging.getLogger("vauban.guard")
HOUR = 3600.0
BEAT = 0.5
"""Seconds between two looks at what is due."""


@dataclass
class Task:
    """Something that is done every so often.

    Attributes:
        name: for the log.
        every: seconds.
        work: what is done.
        due: when, by the steady clock.
    """

    name: str
    every: float
    work: Callable[[], object]
    due: float = 0.0


def own(guard: Guard) -> list[Task]:
    """What every process does for itself: keep up with the roster, and let its models be examined."""

    def refresh() -> None:
        guard.fleet.refresh()
        guard.decoder.want(sizes(guard.fleet, guard.watch))

    def examine() -> None:
        for ensemble, wrong in guard.fleet.examine().items():
            for model, why in wrong.items():
                log.critical("ensemble %s, model %s: %s", ensemble[:16], model, why)

    return [Task("models", 2.0, refresh), Task("golden inputs", HOUR, examine, time.monotonic() + HOUR)]


def common(guard: Guard) -> list[Task]:
    """What is done once for all processes of a node: the monitors, the ledger's checkpoints, the roll-out, alerts, what has expired."""
    config, store = guard.config, guard.store
    rotation = Rotation(store, config.models, "guard", guard.ledger.append)
    roller = Roller(guard.roster, rotation, alert)
    sender = Sender(store, config.name, hooks_of(config.webhook))
    anchor = config.beside(config.ledger.anchor)

    def ceilings() -> None:
        parties = [party.name for party in config.relying_party]
        with store.read() as tx:
            near = [fill for fill in fills(tx, config.limits, parties) if fill.near]
        for fill in near:
            with store.write() as tx:
                alert(tx, f"ceiling/{fill.name}", "warning", {"used": fill.used, "of": fill.ceiling.count, "window": fill.ceiling.window})

    return [
        Task("monitors", 1.0, lambda: guard.watch.tick(store, alert)),
        Task("extraction", 60.0, lambda: guard.watch.survey(store, alert)),
        Task("roll-out", 5.0, roller.tick),
        Task("ledger", config.ledger.checkpoint, lambda: guard.ledger.checkpoint(store, anchor, 0.9 * config.ledger.checkpoint)),
        Task("webhooks", 1.0, sender.pump),
        Task("ceilings", 60.0, ceilings),
        Task("expiry", 60.0, lambda: guard.watch.expire(store)),
        Task("sessions", 60.0, lambda: forget(store)),
    ]


class Keeper:
    """A thread for tasks. Several nodes may each have one: what must be done once is locked in the database.

    Args:
        guard: whose.
        tasks: what is to be done.
    """

    def __init__(self, guard: Guard, tasks: Sequence[Task]) -> None:
        self.guard, self.tasks = guard, tuple(tasks)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once the task at hand is done."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def beat(self, now: float) -> None:
        """Do what is due; one task that fails does not keep the others from being done."""
        for task in self.tasks:
            if now < task.due or self._stop.is_set():
                continue
            task.due = now + task.every
            try:
                task.work()
            except GuardDown as error:
                log.warning("%s: %s", task.name, error)
            except BadLedger as error:
                log.critical("%s: %s", task.name, error)
                self._cry(str(error))
            except Exception:
                log.exception("%s", task.name)

    def _cry(self, said: str) -> None:
        """A ledger that was changed is the worst that can be found."""
        try:
            with self.guard.store.write() as tx:
                alert(tx, "ledger", "critical", {"said": said})
        except GuardDown as error:
            log.critical("ledger: the alert could not be written: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(BEAT):
            self.beat(time.monotonic())
