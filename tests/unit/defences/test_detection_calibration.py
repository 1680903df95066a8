"""Thresholds hold their budget of clean rejections on rows that nobody has seen, and refuse to be drawn from too few."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from detected import digits, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vauban.defences import find
from vauban.defences.detection.conformal import Conformal, p_values, rank, rejecting_by
from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.max_softmax import Unsure
from vauban.defences.detection.rejecting import Clean, Rejecting, calibrated, halves
from vauban.errors import BadData, BadPlan, BadTarget, NotGranted
from vauban.threat import Access

DRAWS = 400
SCORES = ["max-softmax", "energy", "mahalanobis", "knn", "lid", "kde"]


class First(Detector):
    """The first feature of the input, so that scores are what a test says they are."""

    def strangeness(self, seen: Seen) -> Tensor:
        return seen.x[:, 0]


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int, seed: int, d: int = 4) -> Clean:
    """Fresh rows, every one answered correctly."""
    x = torch.rand(n, d, generator=g(seed))
    return Clean(x, plain(d, 3).labels(x))


@pytest.mark.parametrize(("n", "rejected"), [(100, 0.05), (100, 0.1), (73, 0.13), (500, 0.01)])
def test_the_budget_holds_in_expectation_over_calibrations(n: int, rejected: float) -> None:
    target, fresh = plain(4, 3), rows(2000, 99)
    found: list[float] = []
    for seed in range(DRAWS):
        threshold = calibrated(target, First(), rows(n, seed), rejected).threshold
        found.append(float((fresh.x[:, 0] > threshold).float().mean()))
    mean = sum(found) / DRAWS
    # the threshold is an order statistic of uniform scores: what exceeds it is Beta(n + 1 - k, k) with k its rank
    k = math.ceil((n + 1) * (1 - rejected))
    exact = (n + 1 - k) / (n + 1)
    deviation = math.sqrt(exact * (1 - exact) * (1 / (n + 2) / DRAWS + 1 / len(fresh)))
    assert exact <= rejected
    assert abs(mean - exact) < 4 * deviation


@pytest.mark.parametrize("name", SCORES)
def test_the_budget_holds_on_fresh_digits_within_binomial_error(name: str) -> None:
    target, (x, y), _ = digits()
    order = torch.randperm(len(x), generator=g(1))
    first, last = order[:300], order[300:]
    guarded = find(name).bind(rejected=0.1).around(target, (x[first], y[first]))
    right = target.labels(x[last]) == y[last]
    n = int(right.sum())
    hits = int((guarded.labels(x[last][right]) == guarded.reject).sum())
    # calibrated on 150 rows, looked at on about 190: the binomial error of both
    assert hits / n < 0.1 + 3.5 * math.sqrt(0.1 * 0.9 * (1 / n + 1 / 140))


@pytest.mark.parametrize("name", SCORES)
def test_too_few_rows_are_an_error_that_says_how_many(name: str) -> None:
    target, (x, y), _ = digits()
    with pytest.raises(BadData, match=r"too few to reject 1\.0% of them by; give 500 or more"):
        find(name).bind(rejected=0.01).around(target, (x, y))


def test_scores_that_are_all_alike_are_an_error() -> None:
    x = torch.full((300, 4), 0.5)
    with pytest.raises(BadData, match="equally strange"):
        calibrated(plain(4, 3), First(), Clean(x, plain(4, 3).labels(x)), 0.1)


def test_only_rows_that_the_model_gets_right_set_the_threshold() -> None:
    good = rows(200, 0)
    x = torch.cat([good.x, good.x + 100])
    y = torch.cat([good.y, (plain(4, 3).labels(good.x + 100) + 1) % 3])
    assert calibrated(plain(4, 3), First(), Clean(x, y), 0.1).threshold == calibrated(plain(4, 3), First(), good, 0.1).threshold


def test_what_is_above_the_threshold_by_a_hair_is_rejected_and_what_equals_it_is_not() -> None:
    target = plain(4, 3)
    x = torch.rand(50, 4, generator=g())
    with torch.no_grad():
        target.model[1].bias += 1e6  # so that a hair is far below the rounding of a score
    for threshold, rejected in ((0.25, False), (float(np.nextafter(np.float32(0.25), np.float32(0))), True)):
        x[:, 0] = 0.25
        guarded = Rejecting(target, First(), threshold, 3)
        assert ((guarded.labels(x) == 3) == rejected).all()


def test_halves_share_no_row_and_leave_none_out() -> None:
    clean = Clean(torch.arange(11.0)[:, None], torch.arange(11))
    a, b = halves(clean)
    assert sorted([*a.y.tolist(), *b.y.tolist()]) == list(range(11))
    assert torch.equal(a.x[:, 0].long(), a.y)
    assert len(a) == 6


def test_a_detector_needs_scores_and_a_model_without_rejection_of_its_own() -> None:
    clean = rows(200, 0)
    labels = plain(4, 3)
    labels.access = Access.LABEL
    with pytest.raises(NotGranted, match="needs scores"):
        find("max-softmax").bind().around(labels, (clean.x, clean.y))
    twice = find("max-softmax").bind().around(plain(4, 3), (clean.x, clean.y))
    with pytest.raises(BadTarget, match="already"):
        find("energy").bind().around(twice, (clean.x, clean.y))
    with pytest.raises(BadPlan):
        find("knn").bind().around(plain(4, 3))


# ---- conformal ------------------------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 3000), alpha=st.floats(0.001, 0.999))
@settings(max_examples=200, deadline=None)
def test_the_rank_is_the_least_whose_p_value_is_above_alpha(n: int, alpha: float) -> None:
    k = rank(n, alpha)
    above = n + 1 - k  # scores strictly above the k-th, ties aside, give p-values up to above / (n + 1)
    assert above / (n + 1) <= alpha + 1e-9
    assert (above + 1) / (n + 1) > alpha


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (59, 0.05), (100, 0.1)])
def test_conformal_rejects_exactly_as_often_as_it_says(n: int, alpha: float) -> None:
    target, fresh = plain(4, 3), rows(2000, 99)
    found: list[float] = []
    for seed in range(DRAWS):
        guarded = rejecting_by(target, First(), rows(n, seed), alpha, by_class=False)
        found.append(float((guarded.labels(fresh.x) == 3).float().mean()))
    exact = math.floor(alpha * (n + 1) + 1e-9) / (n + 1)
    deviation = math.sqrt(exact * (1 - exact) * (1 / (n + 2) / DRAWS + 1 / len(fresh)))
    assert exact <= alpha
    assert abs(sum(found) / DRAWS - exact) < 4 * deviation


def test_conformal_by_class_holds_for_each_answered_class_where_the_plain_one_does_not() -> None:
    target, fresh = plain(4, 3), rows(4000, 99)
    alpha, found = 0.1, {True: torch.zeros(3), False: torch.zeros(3)}

    class Uneven(Detector):
        """Much stranger in class 0."""

        def strangeness(self, seen: Seen) -> Tensor:
            return seen.x[:, 0] + 3.0 * (seen.z.argmax(1) == 0)

    draws = 100
    for seed in range(draws):
        clean = rows(300, seed)
        for by_class in found:
            rejected = rejecting_by(target, Uneven(), clean, alpha, by_class=by_class).labels(fresh.x) == 3
            found[by_class] += torch.stack([rejected[fresh.y == c].float().mean() for c in range(3)]) / draws
    assert (found[True] < alpha + 0.02).all()
    assert (found[True] > alpha - 0.04).all()
    assert found[False].max() > 2 * alpha


def test_a_clean_row_is_rejected_exactly_where_its_p_value_is_at_most_alpha() -> None:
    target, clean, (x, _) = digits()
    for by_class in (False, True):
        guarded = find("conformal").bind(alpha=0.2, by_class=by_class).around(target, clean)
        p = p_values(guarded, clean[0])
        assert torch.equal(p <= 0.2, guarded.labels(clean[0]) == guarded.reject)
        assert p.min() > 0
        assert p.max() <= 1
        assert len(p_values(guarded, x)) == len(x)


def test_p_values_count_the_clean_rows_that_look_as_strange() -> None:
    judge = Conformal(Unsure(), [torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)], 0.5)
    found = judge.p_values(torch.tensor([0.0, 2.0, 2.5, 9.0]), torch.zeros(4, dtype=torch.long))
    assert found.tolist() == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("score", ["max-softmax", "energy", "mahalanobis", "knn", "kde"])
def test_every_score_can_be_calibrated_conformally(score: str) -> None:
    target, clean, _ = digits()
    guarded = find("conformal").bind(score=score, alpha=0.1).around(target, clean)
    assert 0 < float((guarded.labels(clean[0]) == 10).float().mean()) < 0.2


def test_conformal_says_which_class_has_too_few_rows() -> None:
    target, (x, y), _ = digits()
    with pytest.raises(BadData, match="answered class"):
        find("conformal").bind(alpha=0.01, by_class=True).around(target, (x, y))
    with pytest.raises(BadTarget, match="conformal"):
        p_values(target, x)
