"""Detectors of change: false alarms are as rare as promised, by closed forms and by simulation, and changes are seen as soon as was measured."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from vauban.guard.watch.detect import (
    BLOCK,
    EMPTY,
    MEMORY,
    TRUST,
    RateDetector,
    ShapeDetector,
    ShapeState,
    advanced,
    grown,
    mean_log,
)
from vauban.guard.watch.drift import drift

BAND, QUIET, ATTACK = 0.026, 0.031, 0.84
"""The share of benign scores near the threshold, its bound, and the share of an attack's."""


def first_alarm(detector: RateDetector, happened: np.ndarray, line: float) -> np.ndarray:
    """When each of many series, bool (series, time), first crosses the line; its length if never."""
    logs = np.full((len(happened), len(detector.bets)), EMPTY)
    yes, no = (np.array([bet[side] for bet in detector.bets]) for side in (0, 1))
    found = np.full(len(happened), happened.shape[1])
    for t in range(happened.shape[1]):
        logs = np.logaddexp(0, logs) + np.where(happened[:, t, None], yes, no)
        crossed = np.logaddexp.reduce(logs, axis=1) - math.log(logs.shape[1]) >= math.log(line)
        found = np.where(crossed & (found == happened.shape[1]), t + 1, found)
        if (found < happened.shape[1]).all():
            break
    return found


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
def test_the_expected_sum_in_quiet_times_is_the_number_of_attempts(rate: float) -> None:
    for detector in (RateDetector.above(rate), RateDetector.below(rate)):
        for turns in (1, 5, 9):
            expected = 0.0
            for series in itertools.product((False, True), repeat=turns):
                logs = detector.start
                for happened in series:
                    logs = detector.after(logs, happened)
                expected += rate ** sum(series) * (1 - rate) ** (turns - sum(series)) * math.exp(mean_log(logs))
            assert expected == pytest.approx(turns, rel=1e-9)


def test_quieter_than_the_bound_it_is_less() -> None:
    for detector, rate in ((RateDetector.above(0.1), 0.05), (RateDetector.below(0.1), 0.2)):
        expected = 0.0
        for series in itertools.product((False, True), repeat=8):
            logs = detector.start
            for happened in series:
                logs = detector.after(logs, happened)
            expected += rate ** sum(series) * (1 - rate) ** (8 - sum(series)) * math.exp(mean_log(logs))
        assert expected < 8


def test_the_run_to_a_false_alarm_is_as_long_as_the_line_says() -> None:
    rng, line, length = np.random.default_rng(0), 200.0, 4000
    detector = RateDetector.above(0.05)
    runs = first_alarm(detector, rng.random((400, length)) < 0.05, line)
    assert runs.mean() - 3 * runs.std() / math.sqrt(len(runs)) > line


def test_there_is_no_false_alarm_in_a_million_quiet_attempts() -> None:
    rng = np.random.default_rng(1)
    runs = first_alarm(RateDetector.above(BAND * 1.25), rng.random((200, 5000)) < BAND, 1e6)
    assert (runs == 5000).all()


@pytest.mark.parametrize(("share", "measured"), [(0.05, 605), (0.10, 179)])
def test_probing_is_seen_as_soon_as_was_measured(share: float, measured: int) -> None:
    rng = np.random.default_rng(2)
    rate = (1 - share) * BAND + share * ATTACK
    runs = first_alarm(RateDetector.above(QUIET), rng.random((200, 20_000)) < rate, 1e6)
    assert 0.6 * measured < np.median(runs) < 1.4 * measured


def test_the_numbers_of_one_and_of_many_agree() -> None:
    detector, rng = RateDetector.above(0.1), np.random.default_rng(3)
    series = rng.random(300) < 0.4
    logs, found = detector.start, None
    for t, happened in enumerate(series, 1):
        logs = detector.after(logs, bool(happened))
        if found is None and mean_log(logs) >= math.log(1e6):
            found = t
    assert found == first_alarm(detector, series[None], 1e6)[0]


def test_a_rate_that_falls_is_seen_too() -> None:
    rng = np.random.default_rng(4)
    runs = first_alarm(RateDetector.below(0.9), rng.random((50, 5000)) < 0.7, 1e5)
    assert np.median(runs) < 200


@given(st.floats(-700, 700))
def test_one_more_is_added_to_any_sum(log: float) -> None:
    assert grown(log) == pytest.approx(np.logaddexp(0, log), abs=1e-12)


def shape(rows: int, ranges: int = 5) -> ShapeDetector:
    from vauban.measure.exact import clopper_pearson

    count = rows // ranges
    low, high = clopper_pearson(count, rows, 1 - 0.001 / ranges)
    return ShapeDetector((1 / ranges,) * ranges, (low,) * ranges, (high,) * ranges)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 500), min_size=5, max_size=5), st.integers(50, 5000))
def test_no_shares_in_the_box_make_a_bet_on_shapes_win(remembered: list[float], rows: int) -> None:
    detector = shape(rows)
    factors = np.exp(detector.odds(remembered))
    box = list(zip(detector.low, detector.high, strict=True))
    worst = linprog(-factors, A_eq=np.ones((1, 5)), b_eq=[1], bounds=box)
    assert -worst.fun == pytest.approx(1, abs=1e-7)  # the solver's own tolerance


def test_a_bettor_without_memory_does_not_bet() -> None:
    assert shape(1000).odds([0.0] * 5) == pytest.approx([0.0] * 5, abs=1e-12)
    told = shape(10**9).odds([TRUST, 0, 0, 0, 0])
    assert np.exp(told) == pytest.approx([3.0, 0.5, 0.5, 0.5, 0.5], abs=1e-3)


def test_values_in_pieces_are_the_same_as_at_once() -> None:
    rng, detector = np.random.default_rng(5), shape(500)
    values = rng.integers(0, 5, 103).tolist()
    whole, pieces = ShapeState.start(5), ShapeState.start(5)
    expected = advanced(detector, whole, values)
    found = [log for piece in np.split(np.array(values), [3, 16, 50, 51]) for log in advanced(detector, pieces, piece.tolist())]
    assert found == pytest.approx(expected)
    assert len(whole.waiting) == 103 % BLOCK


def test_what_is_remembered_fades() -> None:
    detector, state = shape(500), ShapeState.start(5)
    advanced(detector, state, [0] * BLOCK * 200)
    assert state.remembered[0][0] == pytest.approx(BLOCK / (1 - math.exp(-BLOCK / MEMORY[0])), rel=1e-6)
    assert state.remembered[1][0] < 2100


def crossing(detector: ShapeDetector, values: np.ndarray, line: float) -> int:
    logs = advanced(detector, ShapeState.start(len(detector.shares)), values.tolist())
    return next((t for t, log in enumerate(logs, 1) if log >= math.log(line)), len(values) + 1)


def test_scores_that_are_as_the_reference_do_not_alarm() -> None:
    rng = np.random.default_rng(6)
    assert all(crossing(shape(1000), rng.integers(0, 5, 6000), 1e5) > 6000 for _ in range(8))
    off = np.array(shape(1000).high) * [1, 0, 0, 0, 1]  # the worst that the reference may have been wrong about
    rest = (1 - off.sum()) / 3
    shares = np.where(off > 0, off, rest)
    assert all(crossing(shape(1000), rng.choice(5, 6000, p=shares), 1e5) > 6000 for _ in range(4))


def test_scores_that_move_are_seen() -> None:
    rng = np.random.default_rng(7)
    moved = [0.4, 0.3, 0.1, 0.1, 0.1]
    runs = [crossing(shape(1000), rng.choice(5, 6000, p=moved), 1e5) for _ in range(9)]
    assert np.median(runs) < 600


def test_psi_of_quiet_scores_is_about_what_is_written_beside_it() -> None:
    rng = np.random.default_rng(8)
    reference = np.bincount(rng.integers(0, 255, 50_000), minlength=255)
    found = [drift(reference.tolist(), np.bincount(rng.integers(0, 255, 500), minlength=255).tolist()) for _ in range(200)]
    assert np.mean([f.psi for f in found if f]) == pytest.approx(found[0].quiet if found[0] else 0, rel=0.15)
    assert drift(reference.tolist(), [0] * 255) is None


def test_the_ks_distance_is_scipys() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(9)
    one, other = rng.integers(0, 255, 400), rng.integers(0, 200, 300)
    found = drift(np.bincount(one, minlength=255).tolist(), np.bincount(other, minlength=255).tolist())
    assert found is not None
    assert found.ks == pytest.approx(ks_2samp(one, other).statistic)
