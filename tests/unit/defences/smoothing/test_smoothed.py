"""The smoothed classifier as a target: its votes, its abstentions, its noise and its surrogate."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from vauban.defences.smoothing import Smoothed
from vauban.defences.smoothing.smoothed import decisive
from vauban.errors import BadPlan, NotGranted
from vauban.noise import RowNoise
from vauban.target import Committee, Function, Torch, default_surrogate
from vauban.threat import Access


def test_votes_are_shares_of_the_classes_under_noise(half) -> None:
    world = half(rows=50)
    smoothed = Smoothed(world.target, 0.5, samples=1000)
    votes = smoothed.votes(world.x).double()
    assert votes.shape == (50, 3) and bool((votes.sum(1) == 1000).all())
    side = torch.where(world.y == 0, world.distance, -world.distance)
    exact = torch.special.ndtr(side / 0.5)
    assert float((votes[:, 0] / 1000 - exact).abs().max()) < 4 * 0.016
    assert smoothed.reject == 2 and smoothed.classes == 3 and smoothed.randomised and smoothed.outputs == "votes"


def test_it_abstains_exactly_where_a_fair_coin_is_not_refuted(half) -> None:
    world = half(rows=100)
    smoothed = Smoothed(world.target, 0.5, samples=60, alpha=0.01)
    noise = RowNoise(torch.arange(100), 3)
    votes, labels = smoothed.votes(world.x, noise.fork()), smoothed.labels(world.x, noise.fork())
    for (a, b, _), label in zip(votes.tolist(), labels.tolist(), strict=True):
        refuted = stats.binomtest(max(a, b), a + b, 0.5).pvalue <= 0.01
        assert label == ((0 if a > b else 1) if refuted else 2)
    assert 0 < int((labels == 2).sum()) < 100


def test_abstention_is_a_small_step_above_the_best_class_so_that_searches_are_not_led_away(half) -> None:
    world = half(rows=100)
    scores = Smoothed(world.target, 0.5, samples=60).scores(world.x)
    unclear = scores.argmax(1) == 2
    best = scores[:, :2].amax(1)
    assert bool((scores[unclear, 2] == best[unclear] + 0.5 / 60).all())
    assert bool((scores[~unclear, 2] < best[~unclear]).all())


@pytest.mark.parametrize("total", [1, 7, 10, 11, 30, 101])
def test_the_test_of_two_classes_is_the_binomial_one(total: int) -> None:
    for alpha in (0.05, 0.001):
        expected = next((k for k in range(total // 2 + 1, total + 1) if stats.binomtest(k, total, 0.5).pvalue <= alpha), total + 1)
        assert decisive(total, alpha) == expected


def test_a_rows_votes_are_its_own_in_any_company_and_fresh_for_each_question(half) -> None:
    world = half(rows=30)
    smoothed, ids = Smoothed(world.target, 0.5, samples=200), torch.arange(30) * 5
    together = smoothed.votes(world.x, RowNoise(ids, 1))
    some = torch.tensor([7, 3, 21])
    assert torch.equal(smoothed.votes(world.x[some], RowNoise(ids, 1).take(some)), together[some])
    again = smoothed.votes(world.x, RowNoise(ids, 1).at(torch.ones(30, dtype=torch.int64)))
    assert not torch.equal(again, together)


def test_labels_are_enough_and_what_is_not_answered_is_a_vote_for_no_answer() -> None:
    silent = Function(
        lambda x: torch.where(torch.from_numpy(x[:, :1]) > 0, torch.tensor([[1.0, 0.0]]), torch.nan), outputs="logits", classes=2
    )
    smoothed = Smoothed(silent, 0.01, samples=50)
    votes = smoothed.votes(torch.tensor([[1.0, 0], [-1.0, 0]]))
    assert votes.tolist() == [[50, 0, 0], [0, 0, 50]]
    assert smoothed.labels(torch.tensor([[1.0, 0], [-1.0, 0]])).tolist() == [0, 2]
    labels = Function(lambda x: (x[:, 0] > 0).astype(int), access="label", classes=2)
    assert Smoothed(labels, 0.01).labels(torch.tensor([[1.0, 0]])).tolist() == [1]


def test_a_models_own_reject_column_takes_the_abstentions() -> None:
    line = nn.Linear(2, 3)
    line.weight.data.copy_(torch.tensor([[1.0, 0], [-1.0, 0], [0, 1.0]]))
    line.bias.data.zero_()
    smoothed = Smoothed(Torch(line, outputs="logits", reject=2), 0.3, samples=100)
    x = torch.tensor([[2.0, 0], [0.0, -2.0], [0.0, 3.0]])
    scores = smoothed.scores(x)
    assert scores.shape == (3, 3) and smoothed.reject == 2
    assert scores.argmax(1).tolist() == [0, 2, 2], "clear, undecided between two classes, rejected by the model itself"


def test_the_surrogate_is_the_mean_probability_under_noise(half) -> None:
    """For a steep logistic base the smoothed probability tends to a normal one, gradient included."""
    world = half(rows=20, features=4)
    world.model.inner.weight.data *= 200
    world.model.inner.bias.data *= 200
    smoothed = Smoothed(world.target, 0.5, draws=4000)
    x = world.x.clone().requires_grad_()
    stand_in = default_surrogate(smoothed)
    assert stand_in is smoothed.surrogate and stand_in.access == Access.GRADIENT and stand_in.passes == 4000
    z = stand_in.smooth(x, RowNoise(torch.arange(20)))
    (gradient,) = torch.autograd.grad(z[:, 0].exp().sum(), x)
    z = z.detach()
    side = torch.where(world.y == 0, world.distance, -world.distance)
    assert float((z[:, 0].exp().double() - torch.special.ndtr(side / 0.5)).abs().max()) < 0.04
    assert bool((z[:, 2] < z[:, :2].amin(1)).all()), "the abstention is never the surrogate's answer"
    w = world.model.inner.weight.detach()[0].double()
    density = torch.exp(-((side / 0.5) ** 2) / 2) / math.sqrt(2 * math.pi) / 0.5
    exact = density[:, None] * w / w.norm()
    cosine = torch.nn.functional.cosine_similarity(gradient.double(), exact)
    assert float(cosine[density > 0.2].min()) > 0.9


def test_without_gradients_of_the_base_there_is_no_surrogate() -> None:
    black = Smoothed(Function(lambda x: x, outputs="logits", classes=2), 0.1)
    assert black.surrogate is None and default_surrogate(black) is None
    with pytest.raises(NotGranted):
        black.smooth(torch.zeros(1, 2))


def test_a_base_that_is_itself_random_draws_anew_for_every_copy(half) -> None:
    world = half(rows=6)
    inner = Smoothed(world.target, 0.8, samples=11)
    outer = Smoothed(inner, 0.1, samples=60)
    first = outer.votes(world.x, RowNoise(torch.arange(6)))
    assert torch.equal(first, outer.votes(world.x, RowNoise(torch.arange(6))))
    assert bool((first.sum(1) == 60).all()) and bool((first.amax(1) < 60).any())
    z = outer.surrogate.smooth(world.x, RowNoise(torch.arange(6)))  # type: ignore[union-attr]
    assert bool(torch.isfinite(z).all())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sigma": 0}, "sigma = 0 must be a positive"),
        ({"sigma": 1, "samples": 10}, "take 11 or more"),
        ({"sigma": 1, "norm": 0}, "must be 2, 1 or inf"),
        ({"sigma": 1, "noise": "gauss"}, "did you mean 'gaussian'"),
        ({"sigma": 1, "noise": "laplace"}, "say norm = 1"),
        ({"sigma": 1, "alpha": 1.5}, "alpha = 1.5"),
        ({"sigma": 1, "draws": 0}, "draws = 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(half, settings: dict, said: str) -> None:
    with pytest.raises(BadPlan, match=said):
        Smoothed(half(rows=1).target, **settings)


def test_a_committee_of_smoothed_members_and_the_other_way_round_work(half) -> None:
    world = half(rows=8)
    both = Committee([Smoothed(world.target, 0.1), Smoothed(world.target, 0.2)], rule="vote")
    both.prepare(world.x)
    far = world.distance > 0.6
    assert bool((both.labels(world.x)[far] == world.y[far]).all())
    of = Smoothed(Committee([world.target, world.target]), 0.1)
    assert bool((of.labels(world.x)[far] == world.y[far]).all())


def test_the_fingerprint_tells_the_noise_apart(half) -> None:
    target = half(rows=1).target
    prints = {Smoothed(target, s, samples=n).sha256() for s, n in ((0.1, 50), (0.2, 50), (0.1, 60))}
    assert len(prints) == 3
