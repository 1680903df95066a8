"""The test of groups refutes clean groups as rarely as it says, and adversarial ones nearly always."""

from __future__ import annotations

import math

import pytest
import torch
from detected import digits

from vauban.attacks import oblivious
from vauban.defences.detection.features import last_linear
from vauban.defences.detection.group_test import group_test
from vauban.doors import Oracle
from vauban.errors import BadData
from vauban.threat import Ball, Threat


def g(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_clean_groups_are_refuted_as_rarely_as_stated() -> None:
    trials = 300
    p = [
        group_test(torch.randn(40, 3, generator=g(s)), torch.randn(20, 3, generator=g(1000 + s)), permutations=99).p_value
        for s in range(trials)
    ]
    for alpha in (0.05, 0.2, 0.5):
        share = sum(v <= alpha for v in p) / trials
        assert share <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)
        assert share >= alpha - 3.5 * math.sqrt(alpha * (1 - alpha) / trials), "the p-values are exact, not merely safe"


def test_the_statistic_is_the_unbiased_discrepancy_by_hand() -> None:
    a, b = torch.randn(7, 2, generator=g(0), dtype=torch.float64), torch.randn(5, 2, generator=g(1), dtype=torch.float64) + 1

    def k(u: torch.Tensor, v: torch.Tensor) -> float:
        return math.exp(-float((u - v).square().sum()) / (2 * 0.8**2))

    within = [sum(k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j) / (len(s) * (len(s) - 1)) for s in (a, b)]
    across = sum(k(u, v) for u in a for v in b) / 35
    assert group_test(a, b, bandwidth=0.8).statistic == pytest.approx(sum(within) - 2 * across)


def test_adversarial_groups_of_features_are_told_apart_and_fresh_clean_ones_are_not() -> None:
    target, (clean, _), (x, y) = digits()
    layer = last_linear(target, target.model, x[:2])

    def features(v: torch.Tensor) -> torch.Tensor:
        with layer.watched() as caught:
            target.scores(v)
        return caught[0]

    o = Oracle(target, x, y, Threat("t", Ball(0.3)), settle="worst")
    oblivious(steps=20)(o)
    assert group_test(features(clean[:200]), features(o.outcome.best)).p_value <= 0.01
    assert group_test(features(clean[:200]), features(clean[200:260])).p_value > 0.01


def test_a_p_value_is_never_zero() -> None:
    a, b = torch.randn(30, 2, generator=g(0)), torch.randn(15, 2, generator=g(1)) + 50
    assert group_test(a, b, permutations=199).p_value == pytest.approx(1 / 200)


def test_the_same_seed_gives_the_same_p_value() -> None:
    a, b = torch.rand(30, 2, 2, generator=g(0)), torch.rand(10, 2, 2, generator=g(1))
    assert group_test(a, b, seed=3) == group_test(a, b, seed=3)
    assert group_test(a, b).rows == 10


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (torch.rand(30, 2), torch.rand(4, 2), "4 inputs in the group"),
        (torch.rand(3, 2), torch.rand(40, 2), "3 inputs in the reference"),
        (torch.rand(30, 2), torch.rand(9, 3), "features"),
        (torch.ones(30, 2), torch.ones(9, 2), "same"),
        (torch.rand(30, 2), torch.full((9, 2), torch.nan), "not finite"),
    ],
)
def test_groups_that_say_nothing_are_errors(a: torch.Tensor, b: torch.Tensor, said: str) -> None:
    with pytest.raises(BadData, match=said):
        group_test(a, b)
