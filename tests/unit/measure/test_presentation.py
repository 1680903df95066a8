"""The error rates of presentation attack detection, against hand counts and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vauban.errors import BadData
from vauban.measure.exact import clopper_pearson
from vauban.measure.presentation import presentation_errors

LABELS = ["spoof"] * 6 + ["live"] * 4
ANSWERS = ["live", "spoof", "spoof", "spoof", "live", "live", "live", "live", "live", "spoof"]
SPECIES = ["print"] * 4 + ["replay"] * 2 + [""] * 4


def test_each_species_is_counted_apart_and_the_worst_is_named() -> None:
    found = presentation_errors(LABELS, ANSWERS, SPECIES)
    assert [(s.name, s.apcer.hits, s.apcer.rows) for s in found.species] == [("print", 1, 4), ("replay", 2, 2)]
    assert (found.worst.name, found.apcer) == ("replay", 1.0)
    assert (found.bpcer.hits, found.bpcer.rows) == (1, 4)
    assert found.acer == (1.0 + 0.25) / 2


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_arrays_and_tensors_of_class_numbers_count_alike(kind: type) -> None:
    numbers = {"spoof": 0, "live": 1}
    y, said = (kind([numbers[v] for v in values]) for values in (LABELS, ANSWERS))
    assert presentation_errors(y, said, SPECIES, bona_fide=1) == presentation_errors(LABELS, ANSWERS, SPECIES)


def test_a_refusal_accepts_nobody() -> None:
    found = presentation_errors(["spoof", "live"], ["unsure", "unsure"], ["print", ""])
    assert found.apcer == 0 and found.bpcer.value == 1


@pytest.mark.parametrize(
    ("labels", "answers", "species", "expected", "says"),
    [
        (LABELS, ANSWERS[:-1], SPECIES, (), "10 labels, 9 decisions and 10 species"),
        (LABELS, ANSWERS, ["print"] * 5 + [""] * 5, (), "presentation 5 is an attack of no species"),
        (["live"], ["live"], [""], (), "no attack presentation"),
        (["spoof"], ["live"], ["print"], (), "no bona fide presentation"),
        (LABELS, ANSWERS, SPECIES, ("print", "replay", "mask"), "no presentation of species 'mask'"),
        (LABELS, ANSWERS, SPECIES, ("print",), "species 'replay' is not among"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    labels: list[str], answers: list[str], species: list[str], expected: tuple[str, ...], says: str
) -> None:
    with pytest.raises(BadData, match=says):
        presentation_errors(labels, answers, species, expected=expected)


def test_none_of_150_does_not_show_an_error_of_zero() -> None:
    found = presentation_errors(["spoof"] * 150 + ["live"], ["spoof"] * 150 + ["live"], ["print"] * 150 + [""])
    assert found.apcer == 0 and found.apcer_interval == found.worst.apcer.interval
    assert 0.02 < found.apcer_interval[1] < 0.025


@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.999]))
def test_exact_intervals_are_those_of_scipy(rows: int, share: float, level: float) -> None:
    hits = round(share * rows)
    theirs = stats.binomtest(hits, rows).proportion_ci(level, method="exact")
    assert clopper_pearson(hits, rows, level) == pytest.approx((theirs.low, theirs.high), abs=1e-10)


@given(st.integers(1, 60), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.999]))
def test_the_ends_of_an_exact_interval_are_the_shares_that_the_tails_just_refute(rows: int, share: float, level: float) -> None:
    hits, tail = round(share * rows), (1 - level) / 2
    low, high = clopper_pearson(hits, rows, level)

    def chance(p: float, counts: range) -> float:
        return sum(math.comb(rows, k) * p**k * (1 - p) ** (rows - k) for k in counts)

    assert low == 0 if hits == 0 else chance(low, range(hits, rows + 1)) == pytest.approx(tail, rel=1e-8)
    assert high == 1 if hits == rows else chance(high, range(hits + 1)) == pytest.approx(tail, rel=1e-8)


def test_an_exact_interval_covers_at_least_as_often_as_it_says() -> None:
    n, p = 40, 0.03
    inside = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if clopper_pearson(k, n)[0] <= p <= clopper_pearson(k, n)[1]
    )
    assert inside >= 0.95


def test_the_interval_of_the_worst_species_covers_though_it_was_picked_after_looking() -> None:
    rng, rate, rows, covered = np.random.default_rng(0), 0.1, 60, 0
    for _ in range(400):
        hits = rng.binomial(rows, rate, size=4)
        answers = [w for h in hits for w in ["live"] * h + ["spoof"] * (rows - h)] + ["live"] * 50
        species = [str(i) for i in range(4) for _ in range(rows)] + [""] * 50
        low, high = presentation_errors(["spoof"] * (4 * rows) + ["live"] * 50, answers, species).apcer_interval
        covered += low <= rate <= high
    assert covered >= 0.95 * 400


def test_the_interval_of_acer_holds_its_value() -> None:
    found = presentation_errors(LABELS * 30, ANSWERS * 30, SPECIES * 30)
    low, high = found.acer_interval
    assert low < found.acer < high and high - low < 0.15


def test_an_interval_of_nothing_says_nothing_and_bad_arguments_are_named() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="hits = 3"):
        clopper_pearson(3, 2)
    with pytest.raises(ValueError, match="level = 1"):
        clopper_pearson(1, 2, 1.0)
