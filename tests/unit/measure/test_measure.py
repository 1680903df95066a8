"""Intervals and tests against scipy, and against simulation."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vauban.measure import mcnemar, rows_to_decide, wilson

HITS = st.integers(0, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(HITS.filter(lambda t: t[1] > 0), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=150, deadline=None)
def test_wilson_is_scipys(pair: tuple[int, int], level: float) -> None:
    hits, rows = pair
    exact = stats.binomtest(hits, rows).proportion_ci(level, method="wilson")
    assert wilson(hits, rows, level) == pytest.approx((exact.low, exact.high), abs=1e-9)


@given(HITS)
def test_wilson_contains_the_rate_and_shrinks(pair: tuple[int, int]) -> None:
    hits, rows = pair
    low, high = wilson(hits, rows)
    assert 0 <= low <= (hits / rows if rows else 0.5) <= high <= 1
    wide, narrow = wilson(hits, rows), wilson(hits * 4, rows * 4)
    assert narrow[1] - narrow[0] <= wide[1] - wide[0]
    assert (low == 0) == (hits == 0)
    assert (high == 1) == (hits == rows)


@pytest.mark.parametrize("p", [0.02, 0.2, 0.5, 0.9])
def test_the_interval_covers_the_truth_as_often_as_it_says(p: float) -> None:
    draw = random.Random(0)
    covered = 0
    for _ in range(2000):
        low, high = wilson(sum(draw.random() < p for _ in range(100)), 100)
        covered += low <= p <= high
    assert 0.92 <= covered / 2000 <= 0.98


def test_more_hits_than_rows_is_refused() -> None:
    for hits, rows in ((3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="must lie between"):
            wilson(hits, rows)


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(a: int, b: int) -> None:
    exact = stats.binomtest(a, a + b).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(exact, rel=1e-9)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_mcnemar_of_many_rows_neither_overflows_nor_vanishes() -> None:
    assert mcnemar(5000, 5000) == 1
    assert 0 < mcnemar(2000, 1000) < 1e-70


@given(st.integers(1, 99), st.integers(1, 99), st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=150, deadline=None)
def test_so_many_rows_decide_and_one_fewer_do_not(rate: int, promise: int, level: float) -> None:
    """At that exact share: counts are multiples of 100 rows, so both neighbours in hundreds are checked."""
    need = rows_to_decide(rate / 100, promise / 100, level)
    if rate == promise:
        assert need is None
        return
    assert need is not None
    enough, short = -(-need // 100), (need - 1) // 100
    low, high = wilson(rate * enough, 100 * enough, level)
    assert not low < promise / 100 <= high
    if short:
        low, high = wilson(rate * short, 100 * short, level)
        assert low < promise / 100 <= high


def test_what_no_practical_number_of_rows_decides_is_none() -> None:
    assert rows_to_decide(0.8, 0.8) is None
    assert rows_to_decide(0.80001, 0.8) is None
    assert rows_to_decide(1.0, 0.99) == 381
    assert rows_to_decide(0.0, 0.9) == 1
    assert rows_to_decide(0.0, 5e-324) is None
    assert rows_to_decide(1.0, 1.0) is None
