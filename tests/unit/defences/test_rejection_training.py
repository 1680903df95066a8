"""The laws of training to reject: what is taught as background, what confidence is asked for, and models that lack the column."""

from __future__ import annotations

import pytest
import torch
from small_training import EPS, Net, net, plainly_trained, recipe, stripes
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.attacks import pgd
from vauban.defences.training import Lesson, Method, find, harden
from vauban.defences.training.inner import searched
from vauban.defences.training.measures import stood_or_rejected
from vauban.defences.training.methods.ccat import confident
from vauban.defences.training.methods.null_class import strangers
from vauban.defences.training.rows import Part
from vauban.defences.training.steps import Steps
from vauban.defences.training.trainee import Trainee
from vauban.errors import BadData, BadTarget
from vauban.target import Torch
from vauban.threat import Ball, Threat


class Wide(Net):
    """The network with one output more."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.layers[-1] = nn.Linear(96, 4)


def wide() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Wide()


def lesson_of(target: Torch, method: Method, *, ramp: float = 0.0, n: int = 40) -> Lesson:
    x, y = stripes()
    rows = Part(x, y, torch.arange(len(x)))
    steps = Steps(Trainee.of(target), rows, Threat("t", Ball(EPS)), pgd(steps=2), recipe(ramp=ramp), method)
    return steps.lesson(rows.take(torch.arange(n)), 1, 0)


def test_a_model_without_the_column_is_one_clear_error() -> None:
    with pytest.raises(BadTarget, match=r"one output more .*reject = K under \[target\]"):
        harden(net(), stripes(), Threat("t", Ball(EPS)), method=find("null-class"), recipe=recipe(epochs=1))


def test_rows_of_the_rejected_class_are_one_clear_error() -> None:
    with pytest.raises(BadData, match="column 2 means rejection"):
        harden(Torch(net(), reject=2), stripes(), Threat("t", Ball(EPS)), method=find("null-class"), recipe=recipe(epochs=1))


def test_background_is_noise_all_over_the_box_and_means_of_neighbours_of_other_classes() -> None:
    lesson = lesson_of(Torch(wide(), reject=3), find("null-class").bind())
    found = strangers(lesson)
    mixed = (lesson.x + lesson.x.roll(-1, 0)) / 2
    is_mixed = (found == mixed).flatten(1).all(1)
    assert torch.equal(is_mixed, torch.arange(40) % 2 == 0), "classes of neighbours differ in these rows"
    noise = found[~is_mixed]
    assert noise.min() < 0.02 and noise.max() > 0.98 and abs(float(noise.mean()) - 0.5) < 0.04


def test_attacked_inputs_are_sought_at_the_whole_radius_and_against_both_the_class_and_rejection() -> None:
    target = Torch(wide().eval(), outputs="logits", reject=3)
    lesson = lesson_of(target, method := find("null-class").bind(steps=10), ramp=0.9)
    assert lesson.eps < EPS / 3
    method(lesson)
    lesson.again()
    found = lesson.found(lambda: torch.zeros(0))
    assert EPS * 0.99 < float((found - lesson.x).abs().max()) <= EPS * 1.001

    def lead(x: Tensor) -> Tensor:
        z = target.scores(x)
        wrong = z.scatter(1, lesson.y[:, None], -torch.inf)[:, :3].amax(1)
        return wrong - torch.maximum(z.gather(1, lesson.y[:, None])[:, 0], z[:, 3])

    assert float((lead(found) - lead(lesson.x)).min()) > -1e-4 and float((lead(found) - lead(lesson.x)).mean()) > 0.05


def test_a_null_class_takes_noise_and_what_an_attacker_finds_that_does_not_know_of_it() -> None:
    target, (x, y) = Torch(wide(), outputs="logits", reject=3), stripes()
    result = harden(target, (x, y), Threat("t", Ball(EPS)), method=find("null-class"), recipe=recipe(epochs=14, held_out=0.2))
    answers = target.labels(x)
    assert float((answers == y).double().mean()) > 0.9
    noise = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert float((target.labels(noise) == 3).double().mean()) > 0.9
    assert result.after.pgd > 0.5


def test_confidence_is_taught_to_fall_with_the_distance_by_hand() -> None:
    model = plainly_trained()
    method = find("ccat").bind(power=2.0, steps=5)
    lesson = lesson_of(Torch(model, outputs="logits"), method)
    loss = float(method(lesson).detach())
    lesson.again()
    found = lesson.found(lambda: torch.zeros(0))
    clean, attacked = lesson.x[:20], lesson.x[20:]
    far = ((found - attacked).abs().flatten(1).amax(1) / EPS).clamp(0, 1)
    kept = ((1 - far) ** 2)[:, None]
    soft = kept * F.one_hot(lesson.y[20:], 3) + (1 - kept) / 3
    z = lesson.scores(torch.cat([clean, found]))
    expected = (F.cross_entropy(z[:20], lesson.y[:20]) + F.cross_entropy(z[20:], soft)) / 2
    assert loss == pytest.approx(float(expected.detach()), rel=1e-4)


def test_the_search_for_confidence_never_ends_below_where_it_began_and_stays_in_the_ball() -> None:
    model = plainly_trained()
    target = Torch(model, outputs="logits")
    lesson = lesson_of(target, find("ccat").bind())

    def sureness(x: Tensor) -> Tensor:
        return target.scores(x).softmax(1).scatter(1, lesson.y[:, None], 0.0).amax(1)

    ends = [searched(lesson.trainee, lesson.batch, lesson.threat, confident(n, 0.5, 0.9), 3) for n in (1, 5, 20)]
    assert all(bool(((x - lesson.x).abs().amax((1, 2, 3)) <= EPS * (1 + 1e-6)).all()) for x in ends)
    start, some, many = (sureness(x) for x in ends)
    assert bool((some >= start - 1e-6).all()) and bool((many >= some - 1e-6).all()) and float((many - start).mean()) > 0.2


def test_calibrated_training_lets_fewer_wrong_answers_be_sure() -> None:
    x, y = stripes()
    rows, threat = Part(x, y, torch.arange(len(x))), Threat("t", Ball(EPS))
    model = net(0.0)
    result = harden(model, (x, y), threat, method=find("ccat").bind(steps=8), recipe=recipe(epochs=10, ramp=0.0))
    wrong: list[float] = []
    for m in (plainly_trained(), model):
        target = Trainee(m.eval(), outputs="logits")
        found = searched(target, rows, threat, confident(20, 0.3, 0.9), 1)
        wrong.append(float(target.scores(found).softmax(1).scatter(1, y[:, None], 0.0).amax(1).mean()))
    assert wrong[0] > 0.6 and wrong[1] < wrong[0] - 0.15
    assert stood_or_rejected(Torch(model, outputs="logits"), rows, threat, {}) > 0.8
    assert {e.chosen_by for e in result.history} == {"stood or rejected"}
