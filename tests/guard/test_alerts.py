"""Alerts: one per monitor is open at a time, and what is new is in the outbox with it."""

from __future__ import annotations

import json
import threading

import pytest
from sqlalchemy import select

from vauban.guard.alerts import acknowledge, alert
from vauban.guard.alerts.tables import alerts, outbox
from vauban.guard.storage import Store


def raised(store: Store, monitor: str = "boundary-band", severity: str = "warning", **evidence: object) -> int:
    with store.write() as tx:
        return alert(tx, monitor, severity, evidence)  # type: ignore[arg-type]


def events(store: Store) -> list[str]:
    with store.read() as tx:
        return [row.event for row in tx.run(select(outbox).order_by(outbox.c.id))]


def test_an_alert_that_is_raised_again_is_counted_and_told_once(store: Store) -> None:
    first = raised(store, value=1)
    assert [raised(store, value=n) for n in (2, 3)] == [first, first]
    with store.read() as tx:
        row = tx.run(select(alerts)).one()
    assert (row.count, json.loads(row.evidence), json.loads(row.latest)) == (3, {"value": 1}, {"value": 3})
    assert row.seen >= row.opened and events(store) == ["opened"]


def test_an_alert_becomes_more_severe_and_never_less(store: Store) -> None:
    for severity in ("notice", "critical", "warning"):
        raised(store, severity=severity)
    with store.read() as tx:
        assert tx.run(select(alerts.c.severity)).scalar_one() == "critical"
    assert events(store) == ["opened", "raised"]


def test_after_it_was_acknowledged_a_new_one_is_opened(store: Store) -> None:
    first = raised(store)
    with store.write() as tx:
        assert acknowledge(tx, first, "ann", "a load test")
        assert not acknowledge(tx, first, "bob")
        assert not acknowledge(tx, 999, "bob")
    assert raised(store) != first
    assert events(store) == ["opened", "acknowledged", "opened"]
    with store.read() as tx:
        row = tx.run(select(alerts).where(alerts.c.id == first)).one()
    assert (row.closed_by, row.note) == ("ann", "a load test") and row.closed is not None


def test_an_alert_whose_transaction_fails_was_never_raised(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as tx:
        alert(tx, "boundary-band", "critical", {})
        raise RuntimeError("before the end")
    with store.read() as tx:
        assert tx.run(select(alerts)).first() is None
    assert events(store) == []


def test_monitors_are_alerted_of_apart(store: Store) -> None:
    assert raised(store, "cluster/1") != raised(store, "cluster/2")


def test_processes_that_alarm_at_once_open_one_alert(store: Store) -> None:
    patient, found = Store(store.url, patience=20), []

    def work() -> None:
        found.extend(raised(patient) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    patient.close()
    with store.read() as tx:
        row = tx.run(select(alerts)).one()
    assert set(found) == {row.id} and row.count == 30 and events(store) == ["opened"]


def test_what_is_told_holds_the_alert_and_its_evidence(store: Store) -> None:
    raised(store, "accept-rate", "critical", rate=0.25)
    with store.read() as tx:
        told = json.loads(tx.run(select(outbox.c.body)).scalar_one())
    assert told["event"] == "alert.opened" and told["evidence"] == {"rate": 0.25}
    assert (told["alert"]["monitor"], told["alert"]["severity"], told["alert"]["count"]) == ("accept-rate", "critical", 1)
