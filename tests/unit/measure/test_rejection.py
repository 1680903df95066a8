"""Metrics of a model that may reject, against counting by hand and the independent implementations of scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from vauban.errors import BadData
from vauban.measure.rejection import Answers, auroc, risk_coverage, roc, threshold_at


def answers() -> Answers:
    #                      right    right    right   wrong   right
    clean = np.array([0.1, 0.2, 0.9, 0.3, 0.4])
    clean_wrong = np.array([False, False, False, True, False])
    attacked = np.array([0.2, 0.8, 0.1, 0.2, 0.6])
    attacked_wrong = np.array([True, True, True, True, False])
    return Answers(clean, clean_wrong, attacked, attacked_wrong)


def test_every_share_by_hand() -> None:
    a = answers()
    t = 0.5
    assert (a.rejected(t).hits, a.rejected(t).rows) == (1, 4)
    assert (a.undetected(t).hits, a.undetected(t).rows) == (3, 5)
    assert (a.detected(t).hits, a.detected(t).rows) == (1, 4)
    # row 0 is broken, row 1 saved by rejection, row 2 rejected while clean, row 3 wrong, row 4 never fooled
    assert (a.robust(t).hits, a.robust(t).rows) == (2, 5)
    # accepted errors: rows 0, 2 (attacked) and 3; something is accepted of every row
    assert (a.rerr(t).hits, a.rerr(t).rows) == (3, 5)


def test_a_row_of_which_nothing_is_accepted_leaves_the_denominator_of_rerr() -> None:
    a = Answers(np.array([0.1, 0.9]), np.array([False, False]), np.array([0.2, 0.9]), np.array([True, True]))
    assert (a.rerr(0.5).hits, a.rerr(0.5).rows) == (1, 1)
    assert (a.rerr(0.0).hits, a.rerr(0.0).rows) == (0, 0)
    assert math.isnan(a.rerr(0.0).value)


def test_without_rejection_robust_and_undetected_are_those_of_a_classifier() -> None:
    a = answers()
    assert a.robust(math.inf).hits == int((~a.clean_wrong & ~a.attacked_wrong).sum())
    assert a.undetected(math.inf).hits == int(a.attacked_wrong.sum())


@given(n=st.integers(1, 400), rejected=st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_at_most_the_stated_share_exceeds_the_threshold(n: int, rejected: float) -> None:
    clean = np.random.default_rng(n).random(n)
    assert (clean > threshold_at(clean, rejected)).sum() <= rejected * (n + 1)


@given(seed=st.integers(0, 10_000), ties=st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_area_is_that_of_scikit_learn_with_ties_too(seed: int, ties: bool) -> None:
    r = np.random.default_rng(seed)
    clean, attacked = r.normal(size=37), r.normal(0.5, size=23)
    if ties:
        clean, attacked = clean.round(), attacked.round()
    both = np.concatenate([clean, attacked])
    which = np.repeat([0, 1], [37, 23])
    found = auroc(clean, attacked)
    assert found.value == pytest.approx(roc_auc_score(which, both))
    assert 0 <= found.interval[0] <= found.value <= found.interval[1] <= 1
    false, true, _ = roc_curve(which, both, drop_intermediate=False)
    curve = roc(clean, attacked)
    ours, theirs = ({tuple(p) for p in np.round(np.stack(c, 1), 9)} for c in ((curve.clean, curve.attacked), (false, true)))
    assert ours == theirs
    assert np.trapezoid(curve.attacked, curve.clean) == pytest.approx(found.value)


def test_the_interval_of_an_area_covers_as_often_as_it_says() -> None:
    r, hits, trials = np.random.default_rng(0), 0, 400
    true = 0.5 * (1 + math.erf(1 / 2))  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    for _ in range(trials):
        low, high = auroc(r.normal(size=40), r.normal(1, size=25)).interval
        hits += low <= true <= high
    assert hits / trials > 0.92


def test_an_area_of_one_is_not_taken_for_certain() -> None:
    found = auroc(np.arange(10.0), np.arange(20.0, 30.0))
    assert found.value == 1
    assert 0.6 < found.interval[0] < 0.95
    assert math.isnan(auroc(np.zeros(0), np.zeros(3)).value)


def test_risk_and_coverage_by_hand_and_in_the_mean_over_ties() -> None:
    curve = risk_coverage(np.array([True, False, False, True]), np.array([0.9, 0.1, 0.2, 0.5]))
    assert curve.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.aurc == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert curve.excess == pytest.approx(0)
    assert curve.at(0.6) == pytest.approx(1 / 3)
    tied = risk_coverage(np.array([True, False, False, True]), np.zeros(4))
    assert tied.risk.tolist() == pytest.approx([0.5] * 4)
    assert tied.excess > 0
    worst = risk_coverage(np.array([True, False]), np.array([0.0, 1.0]))
    assert worst.excess == pytest.approx((1 + 0.5) / 2 - 0.5 / 2)


def test_columns_that_do_not_fit_are_errors() -> None:
    with pytest.raises(BadData, match="columns"):
        Answers(np.zeros(3), np.zeros(3, bool), np.zeros(2), np.zeros(3, bool))
    with pytest.raises(BadData, match="no number"):
        Answers(np.array([math.nan]), np.zeros(1, bool), np.zeros(1), np.zeros(1, bool))
    with pytest.raises(BadData, match="one score"):
        risk_coverage(np.zeros(2, bool), np.zeros(3))
    with pytest.raises(BadData, match="between 0 and 1"):
        threshold_at(np.zeros(3), 1.5)
