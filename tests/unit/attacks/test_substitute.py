"""A surrogate of the attacker's own: what it is asked, what it learns, and that it is a function of the seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.attacks.substitute import Substitute, train_substitute
from vauban.attacks.trained import Trained
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan
from vauban.target import Mean, Own, Target, Torch, restrict
from vauban.threat import Access, Ball, Threat


class Taught(Target):
    """Three classes by the sign of two directions, counted."""

    access = Access.SCORE
    name = "taught"
    classes = 3

    def __init__(self) -> None:
        self.asked_rows = 0
        g = torch.Generator().manual_seed(0)
        self.w = torch.randn(8, 3, generator=g)

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        self.asked_rows += len(x)
        return 6 * (x - 0.5) @ self.w


def inputs(n: int, seed: int = 1) -> Tensor:
    return torch.rand(n, 8, generator=torch.Generator().manual_seed(seed))


def test_what_it_asks_is_what_the_target_counts_and_never_more_than_allowed() -> None:
    target = Taught()
    found = train_substitute(inputs(60), target=target, questions=150, rounds=5, epochs=2)
    assert found.asked == 150 == found.surrogate.asked
    assert target.asked_rows == 150


@pytest.mark.parametrize("scores", [False, True])
def test_a_copy_learnt_from_answers_agrees_with_its_teacher(scores: bool) -> None:
    target = Taught()
    found = train_substitute(inputs(200), target=target, questions=2000, rounds=3, epochs=60, scores=scores)
    fresh = inputs(500, 2)
    assert (found.model(fresh).argmax(1) == target.labels(fresh)).float().mean() > 0.9
    assert found.agreement > 0.8


def test_more_questions_teach_more() -> None:
    fresh, shares = inputs(1000, 3), []
    for rounds in (0, 4):
        target = Taught()
        copy = train_substitute(inputs(30), target=target, questions=2000, rounds=rounds, epochs=60).model
        shares.append((copy(fresh).argmax(1) == target.labels(fresh)).float().mean())
    assert shares[1] > shares[0]


def test_with_true_classes_the_target_is_asked_nothing() -> None:
    target = Taught()
    x = inputs(200)
    y = target.labels(x)
    target.asked_rows = 0
    found = train_substitute(x, y, epochs=40)
    assert found.asked == target.asked_rows == 0
    assert (found.model(x).argmax(1) == y).float().mean() > 0.9


def test_one_seed_gives_one_surrogate_and_leaves_the_worlds_random_numbers_alone() -> None:
    x, y = inputs(50), Taught().labels(inputs(50))
    before = torch.random.get_rng_state()
    one, two = (train_substitute(x, y, epochs=2, seed=5).model for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_images_and_a_network_of_ones_own() -> None:
    x, y = torch.rand(40, 1, 12, 12), torch.arange(40) % 2
    assert train_substitute(x, y, epochs=1).model(x).shape == (40, 2)
    own = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    assert train_substitute(x, y, model=own, epochs=1).model is own


def test_its_examples_transfer() -> None:
    """A black box that shows labels alone falls to gradients of a copy of it, at one question a row."""
    teacher = nn.Sequential(nn.Linear(8, 3))
    teacher[0].weight.data = Taught().w.T.contiguous() * 6
    teacher[0].bias.data = -teacher[0].weight.data.sum(1) / 2
    box = restrict(Torch(teacher, outputs="logits"), "label")
    found = train_substitute(inputs(200), target=box, questions=1000, rounds=2, epochs=60)
    x = inputs(100, 9)
    o = Oracle(box, x, box.labels(x), Threat("t", Ball(0.25), access=Access.LABEL), surrogate=found.surrogate)
    ATTACKS["mi-fgsm"].bind()(o)
    assert o.outcome.broken.float().mean() > 0.6
    assert (o.outcome.queries == 1).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(BadData, match="at least 10"):
        train_substitute(inputs(5), target=Taught())
    with pytest.raises(BadData, match="something to learn"):
        train_substitute(inputs(20))
    with pytest.raises(BadPlan, match="do not cover"):
        train_substitute(inputs(20), target=Taught(), questions=10)


def test_a_surrogate_that_is_trained_later_asks_when_it_is_first_needed_and_once() -> None:
    target, x = Taught(), inputs(60)

    def train() -> Substitute:
        return train_substitute(x, target=target, questions=100, epochs=2)

    later = Trained(train, x, target.labels(x), "{}", 100)
    target.asked_rows = 0
    both = Mean([later, Own(Torch(nn.Linear(8, 3)), asked=7)])
    assert (later.access, later.passes, both.passes) == (Access.NONE, 1, 2)
    assert target.asked_rows == 0
    both.ready()
    assert target.asked_rows == 100 == later.asked
    assert both.asked == 107
    with later.held():
        assert torch.equal(later.smooth(x), train_substitute(x, target=Taught(), questions=100, epochs=2).surrogate.smooth(x))
    assert target.asked_rows == 100
