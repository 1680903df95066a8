"""The laws of training for smoothing: noise of the rows' own, closed forms of the losses, and answers that are right in noise."""

from __future__ import annotations

import math

import pytest
import torch
from small_training import net, plainly_trained, recipe, stripes
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.attacks import pgd
from vauban.defences.training import Lesson, Method, find, harden
from vauban.defences.training.measures import right_under_noise
from vauban.defences.training.methods.gaussian import noises
from vauban.defences.training.methods.smooth_adv import Averaged
from vauban.defences.training.rows import Part
from vauban.defences.training.steps import Steps
from vauban.defences.training.trainee import Trainee
from vauban.target import Torch
from vauban.threat import Ball, Threat

SMOOTHING = ("gaussian", "consistency", "smooth-adv")
SIGMA = 0.2


def line() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def lesson_of(model: nn.Module, method: Method, rows: Tensor) -> Lesson:
    x, y = stripes()
    threat = Threat("t", Ball(0.25, 2))
    steps = Steps(Trainee(model, outputs="logits"), Part(x, y, torch.arange(len(x))), threat, pgd(steps=2), recipe(ramp=0.0), method)
    return steps.lesson(steps.rows.take(rows), 1, 0)


def loss_of(name: str, rows: Tensor, **settings: float) -> float:
    method = find(name).bind(**settings)
    return float(method(lesson_of(line(), method, rows)).detach())


@pytest.mark.parametrize("name", SMOOTHING)
def test_the_noise_of_a_row_is_its_own_whatever_the_batch(name: str) -> None:
    rows = torch.arange(6)
    apart = [loss_of(name, r) for r in rows.split(2)]
    assert loss_of(name, rows) == pytest.approx(sum(apart) / 3, rel=1e-5)


@pytest.mark.parametrize("name", SMOOTHING)
def test_without_noise_they_are_the_plain_or_the_attacked_cross_entropy(name: str) -> None:
    rows, method = torch.arange(30), find("standard").bind()
    lesson = lesson_of(line(), method, rows)
    z = lesson.scores(lesson.x).detach()
    clean = float(F.cross_entropy(z, lesson.y))
    found = loss_of(name, rows, sigma=1e-6)
    if name == "smooth-adv":
        assert found > clean * 1.05
    else:
        entropy = float(-(z.softmax(1) * z.log_softmax(1)).sum(1).mean()) if name == "consistency" else 0.0
        assert found == pytest.approx(clean + 0.5 * entropy, rel=1e-4)


def test_consistency_is_the_divergence_of_each_draw_from_the_mean_by_hand() -> None:
    method = find("consistency").bind(sigma=SIGMA, weight=3.0, entropy=0.25)
    lesson = lesson_of(line(), method, torch.arange(5))
    noise = noises(lesson, 2)
    draws = [lesson.scores(lesson.x + SIGMA * n).detach().double() for n in noise]
    p = [z.softmax(1) for z in draws]
    mean = (p[0] + p[1]) / 2
    apart = sum((mean * (mean / q).log()).sum(1).mean() for q in p) / 2
    plain = sum(F.cross_entropy(z, lesson.y) for z in draws) / 2
    expected = plain + 3.0 * apart - 0.25 * (mean * mean.log()).sum(1).mean()
    assert float(method(lesson).detach()) == pytest.approx(float(expected), rel=1e-5)


def test_the_smoothed_model_in_training_is_the_mean_probability_and_its_attack_lowers_that() -> None:
    model = plainly_trained()
    lesson = lesson_of(model, find("smooth-adv").bind(), torch.arange(40))
    noise = 0.05 * noises(lesson, 8)
    smoothed = Averaged(lesson.trainee, noise)
    with torch.no_grad():
        p = torch.stack([model.eval()(lesson.x + n).softmax(1) for n in noise]).mean(0)
    assert torch.allclose(smoothed.scores(lesson.x).exp(), p, atol=1e-6)
    method = find("smooth-adv").bind(sigma=0.05, draws=8)
    method(lesson)
    lesson.again()
    found = lesson.found(lambda: torch.zeros(0))
    assert bool(((found - lesson.x).flatten(1).norm(dim=1) <= 0.25 + 1e-5).all())
    own = lesson.y[:, None]
    before, after = (smoothed.scores(x).exp().gather(1, own).mean() for x in (lesson.x, found))
    assert after < 0.9 * before


def test_accuracy_in_noise_is_that_of_the_closed_form_on_a_half_space() -> None:
    model = nn.Linear(8, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([torch.ones(8), -torch.ones(8)]))
        model.bias.zero_()
    x, y = torch.full((2000, 8), 0.1), torch.zeros(2000, dtype=torch.int64)
    share = right_under_noise(Torch(model, outputs="logits"), Part(x, y, torch.arange(2000)), Threat("t", Ball(1, 2)), {"sigma": 0.3})
    exact = 0.5 * (1 + math.erf(0.1 * math.sqrt(8) / 0.3 / math.sqrt(2)))
    assert abs(share - exact) < 4 * math.sqrt(exact * (1 - exact) / 8000)


@pytest.mark.parametrize("name", SMOOTHING)
def test_training_makes_answers_right_in_noise_and_chooses_the_epoch_by_it(name: str) -> None:
    model = net(0.0)
    result = harden(model, stripes(), Threat("t", Ball(0.1, 2)), method=find(name).bind(sigma=SIGMA), recipe=recipe(epochs=6))
    x, y = stripes()
    rows, threat = Part(x, y, torch.arange(len(x))), Threat("t", Ball(0.1, 2))
    assert (
        right_under_noise(Torch(model.eval(), outputs="logits"), rows, threat, {"sigma": SIGMA}) > 0.8 > (result.before.chosen or 0) + 0.2
    )
    assert {e.chosen_by for e in result.history} == {"right under noise"}
    assert result.after.chosen == max(e.chosen or 0 for e in result.history)
