"""What Prometheus is told: counts of this guard's processes, and where its database stands. Nothing is told of a single device."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vauban.errors import BadGuard, GuardDown
from vauban.guard.refusal import Code

if TYPE_CHECKING:
    from prometheus_client import Metric

    from vauban.guard.gauges import Gauge
    from vauban.guard.storage import Store

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SCOPES = ("session", "device", "account", "network", "party", "everyone", "lock", "burst")
"""What an attempt can be limited by; anything else is counted as "other", so that a label never holds what a stranger wrote."""
FLAGS = ("replay", "near", "cluster", "anomaly")


def shared(folder: Path) -> None:
    """Let several processes count together, through files in a folder; called once by the process that starts the others.

    Args:
        folder: is made if need be; counts of an earlier start are removed.

    Raises:
        BadGuard: the counters were loaded already: they would stay each process's own.
    """
    if "prometheus_client" in sys.modules and os.environ.get(FOLDER) != str(folder):
        raise BadGuard("metrics are shared between processes before any process counts; this one has begun")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ[FOLDER] = str(folder)


class Metrics:
    """The counters of one process; safe in all its threads."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

        disable_created_metrics()  # they would double every page, and say nothing that a dashboard needs
        self.registry = CollectorRegistry()
        kept: dict[str, Any] = {"registry": self.registry}
        self._attempts = Counter("vauban_attempts", "Attempts that were decided.", ["decision"], **kept)
        self._refused = Counter("vauban_refused", "Requests that were refused, by what the asker was told.", ["code"], **kept)
        self._limited = Counter("vauban_limited", "Attempts that were refused, by the limit they met.", ["scope"], **kept)
        self._flags = Counter("vauban_flags", "What the watch noticed about attempts.", ["kind"], **kept)
        self._down = Counter("vauban_unavailable", "Requests that no decision could be made for.", **kept)
        self._late = Counter(
            "vauban_model_without_vote", "Questions that a model answered late, not, or with no number.", ["model"], **kept
        )
        self._seconds = Histogram("vauban_attempt_seconds", "Work for one decision, before its time slot.", buckets=SECONDS, **kept)
        for decision in ("accept", "reject"):  # at zero from the start, so that a rate over the first minute is one
            self._attempts.labels(decision)
        for code in Code:
            self._refused.labels(code.word)

    def decided(self, accept: bool, seconds: float) -> None:
        """An attempt was decided, after so many seconds of work."""
        self._attempts.labels("accept" if accept else "reject").inc()
        self._seconds.observe(seconds)

    def refused(self, code: Code, why: str = "") -> None:
        """A request was refused.

        Args:
            code: what the asker was told.
            why: the guard's own reason: a limit's begins with its scope.
        """
        self._refused.labels(code.word).inc()
        if code is Code.LIMITED:
            self._limited.labels(_scope(why)).inc()

    def flagged(self, kind: str) -> None:
        """The watch noticed something about an attempt."""
        self._flags.labels(kind if kind in FLAGS else "other").inc()

    def unavailable(self) -> None:
        """A decision could not be made."""
        self._down.inc()

    def voteless(self, model: str) -> None:
        """A model gave no vote on an attempt."""
        self._late.labels(model).inc()

    def page(self, store: Store | None = None) -> bytes:
        """All counts, of all processes if they are shared, and where the database stands, as `/metrics` tells it.

        A database that does not answer is told as `vauban_database_up 0`; the counts are told all the same.
        """
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self.registry
        if os.environ.get(FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        told = generate_latest(registry)
        if store is not None:
            database = CollectorRegistry()
            database.register(_Database(store))
            told += generate_latest(database)
        return told


def _scope(why: str) -> str:
    word = why.partition(":")[0]
    if word in SCOPES:
        return word
    for said, scope in (("burst", "burst"), ("session", "session"), ("device", "lock")):
        if said in why:
            return scope
    return "other"


class _Database:
    """Where the database stands, read when it is asked for: the same from whichever process tells it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        from vauban.guard.gauges import gauges

        up = GaugeMetricFamily("vauban_database_up", "Whether the database answers.")
        try:
            found: list[Gauge] = gauges(self.store)
        except GuardDown:
            found = []
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
        yield up
        for gauge in found:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label] if gauge.label else [])
            for label, value in gauge.values.items():
                family.add_metric([label] if gauge.label else [], value)
            yield family
