"""Committees against closed forms, and their gradients against the members'."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vauban.errors import BadTarget, NotGranted
from vauban.noise import RowNoise
from vauban.target import Committee, Function, Preprocessed, Torch, default_surrogate, restrict
from vauban.threat import Access

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))


def modules(n=3, classes=3):
    torch.manual_seed(1)
    return [torch.nn.Linear(4, classes) for _ in range(n)]


def fixed(*scores: float) -> Function:
    """A member that always answers these."""
    row = torch.tensor([scores], dtype=torch.float32)
    return Function(lambda x: row.expand(len(x), -1), as_numpy=False, outputs="logits")


@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_the_mean_is_the_log_of_the_weighted_mean_of_probabilities(weights):
    members = modules()
    target = Committee([Torch(m) for m in members], weights=weights)
    share = torch.tensor(weights or [1, 1, 1]) / sum(weights or [1, 1, 1])
    truth = sum(w * m(X).softmax(1) for w, m in zip(share, members, strict=True)).log()
    torch.testing.assert_close(target.scores(X), truth.detach())
    torch.testing.assert_close(target.scores(X).exp().sum(1), torch.ones(5))


def test_the_mean_stays_finite_where_probabilities_vanish():
    z = Committee([fixed(0.0, -2000.0), fixed(0.0, -1000.0)]).scores(X)
    torch.testing.assert_close(z[0], torch.tensor([0.0, -1000 - math.log(2)]))


def test_the_gradient_of_the_mean_is_that_of_the_closed_form():
    members = modules()
    target = Committee([Torch(m) for m in members])
    assert (target.access, target.surrogate, target.passes) == (Access.GRADIENT, None, 3)
    x, twin = X.clone().requires_grad_(), X.clone().requires_grad_()
    target.smooth(x)[:, 0].sum().backward()
    truth = torch.autograd.grad((sum(m(twin).softmax(1) for m in members) / 3).log()[:, 0].sum(), twin)[0]
    torch.testing.assert_close(x.grad, truth)
    assert all(p.grad is None for p in members[0].parameters()) and members[0].weight.requires_grad


def test_the_vote_is_the_share_of_the_members_that_say_so():
    target = Committee([fixed(1, 0, 0), fixed(0, 5, 1), fixed(0.2, 0.3, 0.1)], "vote")
    torch.testing.assert_close(target.scores(X)[0], torch.tensor([1 / 3, 2 / 3, 0], dtype=torch.float64))
    weighted = Committee([fixed(1, 0, 0), fixed(0, 5, 1)], "vote", weights=[3, 1])
    torch.testing.assert_close(weighted.scores(X)[0], torch.tensor([0.75, 0.25, 0], dtype=torch.float64))


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=15))
def test_equal_numbers_of_votes_are_exact_ties_in_any_order(ballots):
    members = [fixed(*[float(c == ballot) for c in range(2)]) for ballot in [*ballots, *[1 - b for b in ballots]]]
    z = Committee(members, "vote").scores(X[:1])[0]
    assert z[0] == z[1]


def test_a_tied_member_splits_its_vote_and_one_without_finite_scores_spoils_the_row():
    z = Committee([fixed(2, 2, 0), fixed(0, 1, 0)], "vote").scores(X[:1])[0]
    torch.testing.assert_close(z, torch.tensor([0.25, 0.75, 0], dtype=torch.float64))
    assert bool(Committee([fixed(math.nan, 2, 0), fixed(0, 1, 0)], "vote").scores(X).isnan().all())


def test_gradients_of_a_vote_come_from_the_mean_of_the_scores():
    members = modules()
    target = Committee([Torch(m) for m in members], "vote")
    assert target.access == Access.GRADIENT and default_surrogate(target) is target.surrogate
    torch.testing.assert_close(target.surrogate.smooth(X), sum(m(X) for m in members) / 3)
    assert target.surrogate.passes == 3 and target.surrogate.access == Access.GRADIENT
    with pytest.raises(NotGranted, match="no gradient"):
        target.smooth(X)
    heavy = Committee([Torch(m) for m in members], "vote", weights=[2, 1, 1])
    torch.testing.assert_close(heavy.surrogate.smooth(X), (2 * members[0](X) + members[1](X) + members[2](X)) / 4)


def test_the_surrogates_of_defended_members_are_used():
    members = [Preprocessed(torch.round, Torch(m)) for m in modules()]
    target = Committee(members)
    x = X.clone().requires_grad_()
    torch.testing.assert_close(target.surrogate.smooth(x), target.scores(X))
    target.surrogate.smooth(x)[:, 0].sum().backward()
    assert bool(x.grad.abs().sum() > 0)


def test_access_is_that_of_the_member_that_shows_least():
    a, b = (Torch(m) for m in modules(2))
    assert Committee([a, restrict(b, "score")]).access == Access.SCORE
    assert Committee([a, restrict(b, "score")]).surrogate is None
    silent = Committee([a, Function(lambda x: x[:, 0] > 0, access="label", classes=3)], "vote")
    assert silent.access == Access.LABEL and silent.labels(X).shape == (5,)
    with pytest.raises(NotGranted, match="a member only shows labels"):
        silent.scores(X)


def test_all_members_are_held_and_let_go():
    members = modules()
    target = Committee([Torch(m.train()) for m in members])
    with target.held():
        assert not any(m.training or m.weight.requires_grad for m in members)
    assert all(m.training and m.weight.requires_grad for m in members)
    vote = Committee([Torch(m.train()) for m in members], "vote")
    with vote.surrogate.held():
        assert not any(m.training for m in members)


def test_members_draw_independent_noise_that_belongs_to_the_row():
    def noisy():
        return Function(lambda x, draw: draw.normal(3), randomised=True, outputs="logits")

    target = Committee([noisy(), noisy()])
    ids = torch.arange(5)
    whole, part = target.scores(X, RowNoise(ids, 0)), target.scores(X[3:], RowNoise(ids[3:], 0))
    assert torch.equal(whole[3:], part) and target.randomised
    first, second = (m.scores(X, RowNoise(ids, 0).fork(i)) for i, m in enumerate(target.members))
    assert not torch.equal(first, second)
    torch.testing.assert_close(whole, (first.softmax(1) / 2 + second.softmax(1) / 2).log())


def test_members_draw_independent_noise_in_their_gradients_too():
    def noisy():
        return Function(lambda x, draw: x[:, :3] + draw.normal(3), access="gradient", as_numpy=False, randomised=True, outputs="logits")

    target, ids = Committee([noisy(), noisy()]), torch.arange(5)
    torch.testing.assert_close(target.smooth(X, RowNoise(ids, 0)), target.scores(X, RowNoise(ids, 0)))
    vote = Committee([noisy(), noisy()], "vote").surrogate.smooth(X, RowNoise(ids, 0))
    truth = X[:, :3] + sum(RowNoise(ids, 0).fork(i).normal(3) for i in range(2)) / 2
    torch.testing.assert_close(vote, truth)


def test_the_fingerprint_and_the_size_speak_of_all_members():
    a, b = (Torch(m) for m in modules(2))
    assert Committee([a, b]).parameters_count() == 30
    assert Committee([a, fixed(1, 2)]).parameters_count() is None and Committee([a, fixed(1, 2)]).sha256() == ""
    marks = {
        Committee([a, b]).sha256(),
        Committee([b, a]).sha256(),
        Committee([a, b], "vote").sha256(),
        Committee([a, b], weights=[1, 2]).sha256(),
    }
    assert len(marks) == 4 and Committee([a, b]).sha256() in marks


def reject(target, column):
    target.reject = column
    return target


REFUSED = [
    (lambda: Committee([]), "a committee of no members"),
    (lambda: Committee([fixed(1, 0)], "median"), "rule = 'median' is not a rule of committees"),
    (lambda: Committee([fixed(1, 0)], weights=[1, 2]), "2 weights for 1 members"),
    (lambda: Committee([fixed(1, 0)], weights=[0]), r"weights = \[0.0\] must be positive"),
    (lambda: Committee([reject(fixed(1, 0), 1), fixed(1, 0)]), "the members' reject columns differ"),
    (lambda: Committee([Function(len, access="label")]), "only shows labels, and the rule needs scores; use rule='vote'"),
    (lambda: Committee([fixed(1, 0), fixed(1, 0, 0)]).prepare(X), "the members' numbers of classes differ"),
    (lambda: Committee([fixed(1, 0), fixed(1, 0, 0)]).scores(X), "the members' numbers of classes differ"),
    (lambda: Committee([Function(lambda x: x[:, 0] > 0, access="label")], "vote").labels(X), "the number of classes is not known"),
    (
        lambda: Committee([fixed(1, 0), Function(lambda x: x[:, 0].astype(int), access="label", classes=9)], "vote").labels(X),
        "the members' numbers of classes differ: .* has 2, .* has 9",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_committees_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(BadTarget, match=sentence):
        make()


def test_the_number_of_classes_is_known_once_prepared_and_the_reject_column_is_kept():
    target = Committee([reject(Torch(m), 2) for m in modules()])
    assert target.classes is None and target.reject == 2
    target.prepare(X)
    assert target.classes == 3
