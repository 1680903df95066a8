"""Ensembles: the rules by which they answer, what their attackers climb, how examples carry over, and training that makes members differ."""

from __future__ import annotations

import copy
import functools
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_training import recipe, stripes
from torch import Tensor, nn

import vauban
from vauban.attacks import pgd
from vauban.defences import average, unanimous, vote
from vauban.defences.ensembles.together import Together, members_of
from vauban.defences.ensembles.transfer import transfer_matrix
from vauban.defences.training import METHODS, find, harden
from vauban.defences.training.methods.adp import diversity
from vauban.defences.training.methods.trs import slope
from vauban.doors import Oracle
from vauban.errors import BadTarget
from vauban.target import Committee, Preprocessed, Torch
from vauban.target.committee import majority, unanimity
from vauban.threat import Ball, Threat

torch.set_num_threads(1)
LOGITS = st.lists(st.lists(st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3), min_size=4, max_size=4), min_size=2, max_size=4)


@given(LOGITS)
def test_an_ensemble_is_unanimous_exactly_where_every_member_answers_the_class(z: list[list[list[float]]]) -> None:
    scores = [torch.tensor(member) for member in z]
    answered = unanimity(scores, [1.0] * len(scores)).argmax(1)
    for row in range(4):
        firsts = {int(m[row].argmax()) for m in scores}
        decided = all((m[row].log_softmax(0) == m[row].log_softmax(0).max()).sum() == 1 for m in scores)
        assert int(answered[row]) == (firsts.pop() if len(firsts) == 1 and decided else 3)


@given(LOGITS)
def test_the_margin_of_a_majority_is_positive_only_for_classes_some_member_is_for(z: list[list[list[float]]]) -> None:
    scores = [torch.tensor(member) for member in z]
    found = majority(scores, [1.0] * len(scores))
    for row, column in itertools.product(range(4), range(3)):
        votes = sum(int(m[row].argmax()) == column for m in scores)
        if votes == len(scores):
            assert found[row, column] >= 0
        if votes == 0:
            assert found[row, column] <= 0


def linear(w: Tensor, b: float = 0.0) -> nn.Linear:
    layer = nn.Linear(len(w), 2)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([-w, w]))
        layer.bias.copy_(torch.tensor([b, -b]))
    return layer


def two() -> Together:
    """Two half-spaces at right angles: x0 > 0.5, and x1 > 0.5."""
    return Together([linear(torch.tensor([4.0, 0.0]), 2.0), linear(torch.tensor([0.0, 4.0]), 2.0)])


def test_together_answers_with_the_mean_of_probabilities_and_comes_apart_again() -> None:
    module = two()
    target = Torch(module, mean=0.1, std=2.0)
    x = torch.rand(20, 2)
    whole = average().around(target)
    assert torch.allclose(target.scores(x), whole.scores(x), atol=1e-5)
    parts = members_of(target)
    assert [type(p) for p in parts] == [Torch, Torch] and torch.equal(parts[0].scores(x), module.members[0]((x - 0.1) / 2.0))
    with pytest.raises(BadTarget, match="two members or more"):
        Together([nn.Linear(2, 2)])
    with pytest.raises(BadTarget, match="is no ensemble"):
        vote().around(Torch(nn.Linear(2, 2)))


def test_unanimity_rejects_where_members_differ() -> None:
    target = unanimous().around(Torch(two()))
    x = torch.tensor([[0.9, 0.9], [0.1, 0.1], [0.9, 0.1]])
    target.prepare(x)
    assert target.scores(x).argmax(1).tolist() == [1, 0, 2] and target.reject == 2 and target.classes == 3


@pytest.mark.parametrize(("rule", "fell"), [("mean", 1), ("unanimous", 1)])
def test_the_joint_attack_meets_the_geometry(rule: str, fell: int) -> None:
    """A row at (0.4, 0.4) is unanimously wrong only beyond (0.5, 0.5): at an L-infinity radius above 0.1 and not below."""
    target = Committee([Torch(m) for m in two().members], rule)
    x, y = torch.tensor([[0.4, 0.4]]), torch.tensor([0])
    for eps, expected in ((0.09, 0), (0.11, fell)):
        record = vauban.audit(target, x, y, Threat("insider", Ball(eps)), attacks=["every-way"], doubters=())
        assert record["insider"].robust.rows - record["insider"].robust.hits == expected


def test_a_rejection_is_no_success_and_one_where_the_threat_says_so() -> None:
    from vauban.threat import Goal

    target = Committee([Torch(m) for m in two().members], "unanimous")
    x, y = torch.tensor([[0.45, 0.2]]), torch.tensor([0])

    def broken(goal: Goal) -> int:
        f = vauban.audit(target, x, y, Threat("insider", Ball(0.1), goal=goal), attacks=["every-way"], doubters=())["insider"]
        return f.robust.rows - f.robust.hits

    assert broken(Goal()) == 0 and broken(Goal(reject_wins=True)) == 1


def test_an_attacker_tries_every_member_and_every_mean() -> None:
    committee = Committee([Torch(m) for m in two().members], "vote")
    assert len(committee.ways) == 3 + 2
    strict = Committee([Torch(m) for m in two().members], "unanimous")
    strict.prepare(torch.rand(4, 2))
    assert len(strict.ways) == 1 + 3 + 2 and all(w.smooth(torch.rand(4, 2)).shape == (4, 3) for w in strict.ways)
    blind = Committee([Preprocessed(torch.round, Torch(two().members[0])), Torch(two().members[1])], "mean")
    assert len(blind.ways) == 5, "members behind a step are seen through it"


def test_examples_carry_over_between_like_members_and_not_between_unlike_ones() -> None:
    x = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0.5).long()
    same = [Torch(linear(torch.tensor([4.0, 0.0]), 2.0)), Torch(linear(torch.tensor([8.0, 0.0]), 4.0))]
    alike = transfer_matrix(same, x, y, Threat("t", Ball(0.2)), pgd.bind())
    assert alike.fooled[0][1] == alike.fooled[0][0] == alike.fooled[1][0] > 0 and alike.rows == 60
    z = (x[:, 0] > 0.5).long()
    both = (x[:, 0] > 0.5) == (x[:, 1] > 0.5)
    unlike = transfer_matrix([Torch(m) for m in two().members], x[both], z[both], Threat("t", Ball(0.1)), pgd.bind(start="clean"))
    assert unlike.transferred == 0 and unlike.rate(0, 0).value > 0
    assert unlike.rate(0, 1).interval[0] == 0


def test_diversity_is_the_volume_that_wrong_probabilities_span() -> None:
    y = torch.zeros(1, dtype=torch.long)
    apart = torch.tensor([[[0.4, 0.6, 0.0]], [[0.4, 0.0, 0.6]]])
    assert float(diversity(apart, y)) == pytest.approx(1, abs=1e-3)
    assert float(diversity(apart[[0, 0]], y)) == pytest.approx(0, abs=1e-3)


def net(seed: int) -> nn.Module:
    """A plainly trained network, another one for every seed."""
    x, y = stripes()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 24), nn.ReLU(), nn.Linear(24, 3))
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(80):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model


@functools.cache
def teams() -> tuple[nn.Module, ...]:
    return net(0), net(1), net(2)


def team() -> Together:
    return Together(copy.deepcopy(teams()))


@pytest.mark.parametrize("name", ["separately", "adp", "trs", "dverge"])
def test_ensembles_trained_to_differ_withstand_more(name: str, threat: Threat) -> None:
    plain, module = team(), team()
    result = harden(module, stripes(), threat, recipe=recipe(epochs=15), method=find(name).bind())
    assert result.after.pgd > result.before.pgd and result.after.clean > 0.8

    def robust(model: Together) -> int:
        x, y = stripes()
        o = Oracle(unanimous().around(Torch(model)), x, y, threat)
        pgd.bind(loss="selective")(o)
        return int(o.outcome.standing.sum())

    assert robust(module) > robust(plain)


def test_trs_turns_the_members_gradients_apart(threat: Threat) -> None:
    def parallel(model: Together) -> float:
        x, y = stripes()
        found = [slope(m, x, y) for m in model.members]
        pairs = itertools.combinations(found, 2)
        return float(torch.stack([torch.cosine_similarity(a, b, dim=1).abs().mean().detach() for a, b in pairs]).mean())

    without, with_it = team(), team()
    harden(without, stripes(), threat, recipe=recipe(epochs=6), method=find("trs").bind(similarity=0.0, smoothness=0.0))
    harden(with_it, stripes(), threat, recipe=recipe(epochs=6), method=find("trs").bind(similarity=20.0, smoothness=0.0))
    assert parallel(with_it) < parallel(without)


@pytest.mark.parametrize("name", ["separately", "adp", "trs", "dverge"])
def test_a_single_network_is_told_that_it_is_no_ensemble(name: str, threat: Threat) -> None:
    with pytest.raises(BadTarget, match="this way of training is for ensembles"):
        harden(Torch(net(0), outputs="logits"), stripes(), threat, recipe=recipe(epochs=1), method=METHODS[name].bind())
