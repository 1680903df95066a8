"""Extraction: series of queries that are made by a rule, and queries that lie where the owner's images do not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from captures import Pixels, Sender, levels, noisy, scene, sent
from scipy.stats import shapiro
from sqlalchemy import select

from vauban.guard.alerts import alert
from vauban.guard.alerts.tables import alerts
from vauban.guard.config.model import Watch as Config
from vauban.guard.keys import Keys
from vauban.guard.storage import Store
from vauban.guard.watch import Calibration, Watch
from vauban.guard.watch.calibration import Cells, Likeness
from vauban.guard.watch.prada import LEAST, prada
from vauban.guard.watch.survey import covered
from vauban.guard.watch.tables import streams
from vauban.guard.watch.thumbnail import stored

NOW = time.time()


def by_hand(vectors: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The distances of PRADA, as the paper's algorithm reads."""
    sets: dict[bool, list[np.ndarray]] = {}
    spacing: dict[bool, list[float]] = {}
    bars: dict[bool, float] = {}
    found: dict[bool, list[float]] = {False: [], True: []}
    for vector, answer in zip(vectors.astype(float), map(bool, answers), strict=True):
        if answer not in sets:
            sets[answer], spacing[answer], bars[answer] = [vector], [], 0.0
            continue
        nearest = min(float(np.linalg.norm(vector - other)) for other in sets[answer])
        found[answer].append(nearest)
        if nearest > bars[answer]:
            sets[answer].append(vector)
            spacing[answer].append(nearest)
            bars[answer] = max(bars[answer], np.mean(spacing[answer]) - np.std(spacing[answer]))
    return np.array(found[False] + found[True])


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
def test_distances_are_those_of_the_paper(spread: float) -> None:
    rng = np.random.default_rng(0)
    vectors, answers = rng.normal(size=(160, 6)).astype(np.float32), rng.random(160) < 0.4
    vectors *= rng.lognormal(0, spread, (160, 1)).astype(np.float32)
    expected = by_hand(vectors, answers)
    expected = expected[np.abs(expected - expected.mean()) <= 3 * expected.std()]
    found = prada(vectors, answers)
    assert found.distances == len(expected)
    assert found.w == pytest.approx(shapiro(expected).statistic, abs=1e-5)


def test_distances_that_are_all_the_same_and_too_few_of_them() -> None:
    same = np.zeros((150, 192), np.float32)
    assert prada(same, np.ones(150, bool)).w == 1
    assert prada(same[:50], np.ones(50, bool)).w is None


def natural(n: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors in 192 dimensions that vary in 40: distances to the nearest are normally distributed."""
    return (rng.normal(size=(n, 40)) @ rng.normal(size=(40, 192)) / 40).astype(np.float32)


def test_natural_queries_look_natural_and_a_walk_to_the_boundary_does_not() -> None:
    rng = np.random.default_rng(1)
    usual = natural(600, rng)
    found = prada(usual, rng.random(600) < 0.5)
    assert found.w is not None
    assert found.w > 0.95
    start, end = usual[:2]
    steps = 0.5 ** (np.arange(300) // 30)
    walk = np.stack([end + (start - end) * step + rng.normal(0, 0.5 * step, 192) for step in steps])
    made = prada(walk.astype(np.float32), rng.random(300) < 0.5)
    assert made.alarm
    assert not prada(usual[: LEAST - 10], np.ones(LEAST - 10, bool)).alarm


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_where_queries_lie_is_counted_by_hand() -> None:
    centres = unit(np.eye(192)[:4])
    cells = Cells(stored(centres), np.array([0.4, 0.3, 0.2, 0.1]), 0.2, 0.02)
    vectors = unit(np.array([centres[0], centres[0] + 0.3 * centres[1], centres[2], np.eye(192)[9], centres[0] + centres[1]]))
    found = covered(cells, vectors, np.array([False, True, True, True, True]), [])
    assert found.cells == 2
    assert found.outside == 2
    assert found.expected == pytest.approx(sum(1 - (1 - s) ** 5 for s in cells.shares))
    again = covered(cells, vectors, np.zeros(5, bool), found.logs)
    assert again.logs == found.logs


def test_extraction_with_foreign_pictures_is_told_and_usual_traffic_is_not(keys: Keys, store: Store) -> None:
    def usual(i: int) -> Pixels:
        return levels(0.5 * scene(i % 7, 32) + 0.5 * scene(1 + i % 3, 32) + np.random.default_rng(i).normal(0, 20, (32, 32, 3)))

    plain = Watch(keys, Config())
    thumbs = np.stack([plain.look(usual(i)).probes[0] for i in range(100, 300)])
    centres = stored(unit(thumbs[:21]))
    distances = 1 - (thumbs[100:] @ unit(centres.astype(float)).T).max(1)
    cells = Cells(centres, np.full(21, 1 / 21), float(np.quantile(distances, 0.97)), 0.08)
    watch = Watch(keys, Config(), Calibration((32, 32), 200, Likeness(), cells=cells))
    for i in range(110):
        sent(watch, store, usual(1000 + i), Sender.person(str(i), NOW, network="office"))
        sent(watch, store, scene(2000 + i, 32), Sender.person(f"x{i}", NOW, network="thief"))
    assert watch.survey(store, alert) >= 2
    assert watch.survey(store, alert) == 0
    with store.read() as tx:
        raised = set(tx.run(select(alerts.c.monitor)).scalars().all())
        found = {r.key: r for r in tx.run(select(streams)).all()}
    assert "outside:network:thief" in raised
    assert "outside:network:office" not in raised
    assert found["thief"].queries == found["office"].queries == 110
    assert found["thief"].outside > 80
    assert found["office"].expected == pytest.approx(21 * (1 - (20 / 21) ** 110), rel=1e-6)


def test_a_cluster_that_walks_is_told(keys: Keys, store: Store) -> None:
    watch, rng = Watch(keys, Config()), np.random.default_rng(3)
    base, other = scene(1, 32).astype(float), scene(2, 32).astype(float)
    for i in range(125):
        step = 0.2 * 0.4 ** (i // 16)
        sent(watch, store, noisy(levels(base + step * (other - base)), 10 * step, rng), Sender.person(str(i % 12), NOW, network=str(i)))
    assert watch.survey(store, alert) == 1
    with store.read() as tx:
        (row,) = tx.run(select(streams)).all()
        raised = tx.run(select(alerts.c.monitor)).scalars().all()
    assert (row.kind, row.queries) == ("cluster", 125)
    assert row.normality < 0.9
    assert raised == [f"prada:cluster:{row.key}"]
