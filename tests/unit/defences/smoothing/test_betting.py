"""The sequential test: its evidence is the formula's, its answers are wrong as seldom as it says, and it is quick."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from vauban.defences.smoothing import Gaussian
from vauban.defences.smoothing.betting import Boundary, boundary_of, fewest, log_evidence, peeks_of
from vauban.defences.smoothing.question import FUTILE, Question


def by_scipy(votes, samples: int, bar: float):
    """The mixture over Beta(1/2, 1/2) cut off below the bar, for one number of votes or an array of them."""
    a, b = votes + 0.5, samples - votes + 0.5
    above = stats.beta.logsf(bar, a, b) - stats.beta.logsf(bar, 0.5, 0.5)
    return special.betaln(a, b) - special.betaln(0.5, 0.5) + above - votes * math.log(bar) - (samples - votes) * math.log1p(-bar)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 100_000), st.floats(0, 1), st.floats(0.5, 0.9995))
def test_evidence_is_the_ratio_of_the_mixture_to_the_bar(samples: int, share: float, bar: float) -> None:
    votes = round(share * samples)
    expected = by_scipy(votes, samples, bar)
    if expected > 0:
        assert log_evidence(votes, samples, bar) == pytest.approx(expected, abs=1e-6, rel=1e-9)
    else:  # far below the bar scipy itself loses digits, and by how much evidence is missing decides nothing
        assert log_evidence(votes, samples, bar) <= 1e-6


def test_a_fair_gamble_is_fair() -> None:
    """At the bar itself the expected fortune is 1, after any number of votes."""
    for bar in (0.6, 0.9):
        for n in (1, 5, 40):
            fortune = sum(stats.binom.pmf(v, n, bar) * math.exp(log_evidence(v, n, bar)) for v in range(n + 1))
            assert fortune == pytest.approx(1, abs=1e-9)
            below = sum(stats.binom.pmf(v, n, bar - 0.05) * math.exp(log_evidence(v, n, bar)) for v in range(n + 1))
            assert below < 1


@pytest.mark.parametrize("bar", [0.5, 0.69, 0.84, 0.977, 0.9987])
def test_boundaries_are_where_the_evidence_crosses(bar: float) -> None:
    found, need = boundary_of(bar, 0.001, 2000), math.log(1000)
    for n, up, down in zip(found.peeks, found.enough, found.hopeless, strict=True):
        votes = np.arange(n + 1)
        enough, hopeless = votes[by_scipy(votes, n, bar) >= need], votes[by_scipy(n - votes, n, 1 - bar) >= need]
        assert up == (enough[0] if len(enough) else n + 1)
        assert down == (hopeless[-1] if len(hopeless) else -1)


def test_the_fewest_samples_are_those_with_which_unanimity_does() -> None:
    for bar in (0.6, 0.9, 0.99):
        n = fewest(bar, 0.001)
        assert by_scipy(n, n, bar) >= math.log(1000) > by_scipy(n - 1, n - 1, bar)


def test_peeks_grow_by_a_tenth_and_end_at_the_last_sample() -> None:
    peeks = peeks_of(100_000)
    assert peeks[0] == 32 and peeks[-1] == 100_000 and len(peeks) < 90
    assert all(a < b <= a * 1.1 + 1.1 for a, b in itertools.pairwise(peeks))
    assert peeks_of(10) == (10,)


def runs(p: np.ndarray, b: Boundary, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each share of votes: +1 certified, -1 given up, 0 neither; and the samples it took. A row never feels another."""
    rng = np.random.default_rng(seed)
    votes, verdict, taken, before = np.zeros(len(p), int), np.zeros(len(p), int), np.full(len(p), b.peeks[-1]), 0
    for n, up, down in zip(b.peeks, b.enough, b.hopeless, strict=True):
        votes += rng.binomial(n - before, p)
        before = n
        now = np.where(votes >= up, 1, np.where((votes <= down) | (n - votes > b.misses), -1, 0))
        settled = (verdict == 0) & (now != 0)
        verdict[settled], taken[settled] = now[settled], n
    return verdict, taken


@pytest.mark.parametrize(("bar", "alpha"), [(0.6, 0.05), (0.9, 0.05), (0.841, 0.01), (0.977, 0.001)])
def test_false_certificates_are_as_rare_as_alpha_says_at_the_bar_itself(bar: float, alpha: float) -> None:
    """The worst case: the share is exactly the bar, and the votes are looked at some seventy times."""
    count = 20_000
    verdict, _ = runs(np.full(count, bar), boundary_of(bar, alpha, 20_000), seed=1)
    assert (verdict == 1).mean() <= alpha + 3 * math.sqrt(alpha / count)
    assert (verdict == 1).any() or alpha < 0.01, "a test that never errs is too timid to be this one"


def test_giving_up_is_as_seldom_wrong() -> None:
    bar, alpha, count = 0.8, 0.05, 20_000
    b = boundary_of(bar, alpha, 5_000)
    patient = Boundary(b.peeks, tuple(n + 1 for n in b.peeks), b.hopeless)  # never certifies, so that giving up is all there is to see
    rng = np.random.default_rng(0)
    votes, wrong, before = np.zeros(count, int), np.zeros(count, bool), 0
    for n, down in zip(patient.peeks, patient.hopeless, strict=True):
        votes += rng.binomial(n - before, bar, count)
        before = n
        wrong |= votes <= down
    assert wrong.mean() <= alpha + 3 * math.sqrt(alpha / count)


@pytest.mark.parametrize("bar", [0.69, 0.977, 0.99865])
def test_the_prospect_is_that_of_a_beta_binomial(bar: float) -> None:
    b = boundary_of(bar, 0.001, 100_000)
    for n in (2_000, 20_000, 60_000):
        for z in (-3, -1, 0, 2, 4):
            votes = min(round(n * bar + z * math.sqrt(n * bar * (1 - bar))), n)
            to_come = stats.betabinom(100_000 - n, votes + 0.5, n - votes + 0.5)
            exact = to_come.sf(b.enough[-1] - votes - 1) + to_come.cdf(b.hopeless[-1] - votes)
            assert b.prospect(votes, n) == pytest.approx(exact, abs=0.1), "a normal distribution, of few votes against"
            assert b.prospect(votes, n) > FUTILE or exact <= 2 * FUTILE, "who is given up would hardly have been settled"


@pytest.mark.parametrize(("bar", "away", "at_most"), [(0.69, 0, 0.5), (0.977, 0, 0.5), (0.977, 5, 0.97), (0.977, -6, 0.99)])
def test_rows_at_the_bar_are_given_up_early_and_hardly_any_answer_is_lost(bar: float, away: float, at_most: float) -> None:
    """`away` from the bar, in standard deviations of the share of 100,000 votes."""
    b = boundary_of(bar, 0.001, 100_000)
    question, rng = Question((1.0,), (b,)), np.random.default_rng(0)
    share = bar + away * math.sqrt(bar * (1 - bar) / 100_000)
    patient, brief, lost = 0, 0, 0
    for _ in range(300):
        ended = given_up = n = votes = 0
        for peek, now in enumerate(b.peeks):
            votes, n = votes + rng.binomial(now - n, share), now
            if now == b.peeks[-1] or question.look(peek, votes, 0, 1) != (0, 1) or n - votes > b.misses:
                ended = now
                break
            if not given_up and not question.open(0, 1, votes, n):
                given_up = now
        patient, brief = patient + ended, brief + (given_up or ended)
        lost += bool(given_up) and question.look(peek, votes, 0, 1) != (0, 1)
    assert brief <= at_most * patient
    assert lost <= 9, "of 300; each was given up at a chance of 1 % or less, looked at some thirty times"


RADII = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 1.9)
HELD = (0.992, 0.983, 0.969, 0.943, 0.898, 0.820, 0.678, 0.450, 0.30)
"""Certified accuracy against radius of a LeNet on MNIST, trained and smoothed with sigma 0.5 (Jeong and Shin 2020, arXiv:2006.04062)."""


@pytest.mark.parametrize(("radius", "times"), [(0.5, 100), (1.0, 30)])
def test_at_moderate_radii_far_fewer_samples_than_a_fixed_number_say_the_same(radius: float, times: float) -> None:
    rng, noise = np.random.default_rng(0), Gaussian(0.5)
    u = rng.random(20_000)
    true = np.interp(u, HELD[::-1], RADII[::-1], left=2.5, right=-0.5)
    p = stats.norm.cdf(true / 0.5)
    verdict, taken = runs(p, boundary_of(noise.share(radius), 0.001, 100_000), seed=2)
    votes = rng.binomial(100_000, p)
    fixed = stats.beta.ppf(0.001, votes, 100_000 - votes + 1) > noise.share(radius)
    assert 100_000 / taken.mean() >= times
    assert abs((verdict == 1).mean() - fixed.mean()) <= 0.003
    assert not (verdict == 1)[true < radius].mean() > 0.001
