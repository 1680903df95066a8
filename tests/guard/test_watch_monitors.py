"""Monitors: every attempt is counted once whoever ticks, what an attack does alarms, and no flood moves what is quiet."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from captures import Sender, noisy, scene, sent, verdict
from sqlalchemy import func, insert, select

from vauban.guard.alerts import alert
from vauban.guard.alerts.tables import alerts
from vauban.guard.config.model import Watch as Config
from vauban.guard.console.readings.evidence import clusters_of, standings
from vauban.guard.console.readings.scores import scores_of
from vauban.guard.keys import Keys, make_keys
from vauban.guard.storage import Store, Transaction
from vauban.guard.watch import Calibration, Watch
from vauban.guard.watch.calibrate import Owner, calibrate
from vauban.guard.watch.monitors import TRACE, counted, monitors_of, traced
from vauban.guard.watch.tables import inbox, monitors

NOW = time.time()


def votes(rng: np.random.Generator, attack: bool = False) -> tuple[float, float]:
    """What two models say of usual captures, and of an attack's: close to the threshold, and seldom together."""
    return (rng.normal(0, 0.4), rng.normal(0, 0.4)) if attack else (rng.normal(4, 1.2), rng.normal(5, 1.5))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, Calibration]:
    """Keys, and a calibration on 1,200 scores and a few pictures."""
    keys, rng = make_keys(tmp_path_factory.mktemp("watch") / "keys"), np.random.default_rng(0)
    pictures = [scene(i, 32) for i in range(220)]
    return keys, calibrate(keys, Owner(pictures, None, {"e1": [verdict(*votes(rng)) for _ in range(1200)]}), history=1000)


@pytest.fixture
def watch(held: tuple[Keys, Calibration]) -> Watch:
    keys, calibration = held
    return Watch(keys, Config(), calibration)


def post(store: Store, pairs: list[tuple[float, float]], **others: Any) -> None:
    """Put attempts into the inbox as `Watch.record` does."""
    rows = []
    for pair in pairs:
        said = verdict(*pair)
        told = {"ensemble": "e1", "quorum": said.accept, "accept": said.accept, "flags": [], "outside": False}
        told |= {"scores": {v.model: v.quantised for v in said.votes}} | others
        rows.append({"at": NOW, "told": json.dumps(told)})
    with store.write() as tx:
        tx.run(insert(inbox), rows)


def drained(watch: Watch, store: Store) -> int:
    total = 0
    while done := watch.tick(store, alert):
        total += done
    return total


def raised(store: Store) -> dict[str, Any]:
    with store.read() as tx:
        return {r.monitor: r for r in tx.run(select(alerts)).all()}


def test_usual_traffic_does_not_alarm_and_probing_does(watch: Watch, store: Store) -> None:
    rng = np.random.default_rng(1)
    post(store, [votes(rng) for _ in range(1500)])
    assert drained(watch, store) == 1500
    assert raised(store) == {}
    post(store, [votes(rng, attack=rng.random() < 0.15) for _ in range(1500)])
    assert drained(watch, store) == 1500
    found = raised(store)
    assert {"close:m1", "close:m2", "splits:e1"} <= found.keys()
    assert found["close:m1"].severity == "critical"
    evidence = json.loads(found["close:m1"].evidence)
    assert evidence["log_e"] >= evidence["line"] > 13


def test_what_a_recorded_attempt_says_is_what_is_counted(held: tuple[Keys, Calibration], sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()
    watch = Watch(held[0], Config(), held[1])
    for i in range(6):
        sent(watch, store, scene(i, 32), Sender.person(str(i), NOW), (0.5, -3.0))
    assert drained(watch, store) == 6
    found = {s.name: s for s in standings(store, held[1])}
    shown = {s.model: s for s in scores_of(store, held[1], days=100_000)}
    with store.read() as tx:
        counts = {n: json.loads(s) for n, s in tx.run(select(monitors.c.name, monitors.c.state).where(monitors.c.name.like("histogram:%")))}
    assert {n: (t.seen, t.hits) for n, t in found.items() if n.startswith(("close", "splits", "rejects", "near"))} == {
        "close:m1": (6, 6),
        "close:m2": (6, 0),
        "splits:e1": (6, 6),
        "rejects-more:e1": (6, 6),
        "near": (6, 0),
    }
    (first,), (second,) = (counts[f"histogram:{model}"].values() for model in ("m1", "m2"))
    assert first[127 + 4] == second[127 - 24] == 6
    assert shown["m1"].rows == shown["m2"].rows == 6
    assert shown["m2"].drift is not None
    assert shown["m2"].drift.ks > 0.9


def alarms(watch: Watch, store: Store) -> int:
    """How often the monitor of the boundary band alarmed."""
    return next((s.alarms for s in standings(store, watch.calibration) if s.name == "close:m1"), 0)


def test_every_attempt_is_counted_once_by_many_that_tick_at_once(watch: Watch, url: str) -> None:
    store = Store(url, patience=10)
    store.create()
    post(store, [votes(np.random.default_rng(2)) for _ in range(1100)])
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: watch.tick(store, alert), range(8)))
    total = sum(done) + drained(watch, store)
    with store.read() as tx:
        state = json.loads(tx.run(select(monitors.c.state).where(monitors.c.name == "close:m1")).scalar_one())
        left = tx.run(select(func.count()).select_from(inbox)).scalar_one()
    assert (total, state["seen"], left) == (1100, 1100, 0)


def test_a_tick_whose_alert_fails_happened_not_at_all(watch: Watch, store: Store) -> None:
    rng = np.random.default_rng(3)
    post(store, [votes(rng, attack=True) for _ in range(300)])

    def failing(tx: Transaction, monitor: str, severity: str, evidence: Mapping[str, Any]) -> int:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError):
        watch.tick(store, failing)
    with store.read() as tx:
        assert tx.run(select(func.count()).select_from(inbox)).scalar_one() == 300
        assert tx.run(select(func.count()).select_from(monitors)).scalar_one() == 0
    assert watch.tick(store, alert) == 300
    assert "close:m1" in raised(store)


def test_a_flood_does_not_move_what_is_quiet(watch: Watch, sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    def delay(store: Store) -> int:
        """How many attempts it takes until a later attack alarms."""
        rng = np.random.default_rng(5)
        before = alarms(watch, store)
        for turn in range(1, 100):
            post(store, [votes(rng, attack=rng.random() < 0.2) for _ in range(10)])
            drained(watch, store)
            if alarms(watch, store) > before:
                return 10 * turn
        return 1000

    calm, flooded = (Store(u) for u in (sqlite_url, f"sqlite:///{tmp_path_factory.mktemp('flood') / 'guard.db'}"))
    rng = np.random.default_rng(4)
    for store in (calm, flooded):
        store.create()
    quiet = [m for m in monitors_of(watch.calibration) if m.name == "close:m1"]
    post(flooded, [votes(rng, attack=rng.random() < 0.1) for _ in range(9000)])
    assert drained(watch, flooded) == 9000
    assert alarms(watch, flooded) > 20
    assert [m for m in monitors_of(watch.calibration) if m.name == "close:m1"] == quiet
    assert delay(flooded) <= delay(calm)


def test_small_steps_come_to_the_same_as_large_ones(watch: Watch, sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    one, many = (Store(u) for u in (sqlite_url, f"sqlite:///{tmp_path_factory.mktemp('steps') / 'guard.db'}"))
    rng = np.random.default_rng(6)
    scores = [votes(rng, attack=rng.random() < 0.1) for _ in range(400)]
    for store, size in ((one, 400), (many, 37)):
        store.create()
        for start in range(0, 400, size):
            post(store, scores[start : start + size])
            watch.tick(store, alert)
    found = [{s.name: (s.seen, s.hits, s.alarms, round(s.log10, 6)) for s in standings(store, watch.calibration)} for store in (one, many)]
    assert found[0] == found[1]
    assert any(alarms for _, _, alarms, _ in found[0].values())


def test_without_a_calibration_nothing_is_followed_but_scores_are_shown(keys: Keys, sqlite_url: str) -> None:
    store, watch = Store(sqlite_url), Watch(keys, Config())
    store.create()
    post(store, [(0.0, 1.0)] * 50)
    assert watch.monitors == ()
    assert drained(watch, store) == 50
    assert raised(store) == {}
    assert standings(store, None) == ()
    assert [(s.model, s.rows, s.band, s.drift) for s in scores_of(store, None, days=100_000)] == [
        ("m1", 50, None, None),
        ("m2", 50, None, None),
    ]


def test_a_cluster_in_alarm_is_told_once(keys: Keys, store: Store) -> None:
    watch, rng = Watch(keys, Config()), np.random.default_rng(7)
    for i in range(9):
        sent(watch, store, noisy(scene(1), 1, rng), Sender.person(str(i), NOW))
    for _ in range(3):
        watch.tick(store, alert)
    (name, row), *others = raised(store).items()
    assert (name.split(":")[0], row.severity, row.count, others) == ("cluster", "critical", 1, [])
    assert json.loads(row.evidence)["identities"] == 9
    assert [(c.size, c.identities, c.alarmed) for c in clusters_of(store)[0]] == [(9, 9, True)]


def test_another_ensembles_attempts_are_not_counted_for_this_one(watch: Watch, sqlite_url: str) -> None:
    store = Store(sqlite_url)
    store.create()
    post(store, [(-1.0, 1.0)] * 30, ensemble="e2")
    post(store, [(3.0, 3.0)] * 20, outside=None, scores={"m1": None, "m2": 8})
    drained(watch, store)
    found = {s.name: s.seen for s in standings(store, watch.calibration)}
    assert found == {
        "close:m1": 30,
        "scores:m1": 30,
        "close:m2": 50,
        "scores:m2": 50,
        "splits:e1": 20,
        "rejects-more:e1": 20,
        "near": 50,
    } | ({"outside": 30} if "outside" in found else {})


def test_a_trace_is_short_and_keeps_its_peaks() -> None:
    trace: list[list[float]] = []
    for t in range(2000):
        trace = traced(trace, t, 50.0 if t == 700 else float(t % 7))
    assert len(trace) <= TRACE
    assert max(trace, key=lambda p: p[1]) == [700.0, 50.0]
    assert [p[0] for p in trace] == sorted(p[0] for p in trace)
    assert trace[-1] == [1999.0, float(1999 % 7)]


def test_scores_are_counted_by_day_and_old_days_go() -> None:
    histogram: dict[str, list[int]] = {}
    for day in range(12):
        histogram = counted(histogram, [(86400.0 * day + 5, -127), (86400.0 * day + 6, 127)])
    assert list(histogram) == [str(day) for day in range(4, 12)]
    assert histogram["11"][0] == histogram["11"][254] == 1
