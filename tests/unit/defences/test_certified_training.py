"""The laws of training for bounds: closed forms of the losses, certified shares that grow, epochs chosen by them, and clear refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import EPS, net, recipe, stripes
from torch import nn
from torch.nn import functional as F

from vauban.attacks import pgd
from vauban.bounds import certify
from vauban.defences.training import Lesson, Method, Tick, find, harden
from vauban.defences.training.gates import best_of, overfitted
from vauban.defences.training.result import Epoch, Run
from vauban.defences.training.rows import Part
from vauban.defences.training.seeds import judged
from vauban.defences.training.steps import Steps
from vauban.defences.training.trainee import Trainee
from vauban.doors import Oracle
from vauban.errors import BadPlan, Unsupported
from vauban.target import Torch
from vauban.threat import Ball, Goal, Threat

CERTIFYING = ("ibp", "crown-ibp", "sabr")


def dense() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))


def lesson_of(model: nn.Module, method: Method, *, eps: float = EPS, place: int = 5, goal: Goal | None = None) -> Lesson:
    """The lesson of 20 rows in the first of two epochs, each of six steps; the radius has grown by (place + 1) / 6."""
    x, y = stripes(162)
    rows = Part(x, y, torch.arange(len(x)))
    threat = Threat("t", Ball(eps), goal=goal or Goal())
    steps = Steps(Trainee(model, outputs="logits"), rows, threat, pgd(steps=2), recipe(epochs=2, batch=27, ramp=0.5), method)
    return steps.lesson(rows.take(torch.arange(20)), 1, place)


def told(name: str, model: nn.Module, settings: Mapping[str, float] = {}, **lesson: object) -> float:  # never changed
    method = find(name).bind(**settings)
    return float(method(lesson_of(model, method, **lesson)).detach())  # type: ignore[arg-type]


def test_the_loss_of_ibp_on_a_linear_model_is_the_exact_worst_case_mixed_by_kappa() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, y = (t[:20] for t in stripes(162))
    line, flat = model[1], x.flatten(1)
    for place, share in ((2, 0.5), (5, 1.0)):
        r = EPS * share * 2.0
        lo, hi = (flat - r).clamp_min(0), (flat + r).clamp_max(1)
        w = line.weight[y][:, None] - line.weight  # type: ignore[index]
        worst = (torch.where(w > 0, lo[:, None], hi[:, None]) * w).sum(2) + line.bias[y][:, None] - line.bias  # type: ignore[index,operator]
        bound, clean = (-worst).logsumexp(1).mean(), F.cross_entropy(model(x), y)
        weight = 1 - 0.75 * share
        expected = float((weight * clean + (1 - weight) * bound).detach())
        assert told("ibp", model, {"kappa": 0.25, "widening": 2.0}, place=place) == pytest.approx(expected, rel=1e-5)
        assert told("crown-ibp", model, {"kappa": 0.25, "widening": 2.0, "beta": 0.0}, place=place) <= expected * (1 + 1e-5)


def test_lines_never_give_a_larger_loss_than_intervals() -> None:
    loose, tight = told("ibp", dense()), told("crown-ibp", dense(), {"beta": 1.0})
    assert tight < loose - 1e-3


def test_small_boxes_are_the_whole_ball_at_one_end_and_the_attack_at_the_other() -> None:
    model = dense()
    assert told("sabr", model, {"part": 1.0}) == pytest.approx(told("ibp", model, {"kappa": 0.0}), rel=1e-5)
    method = find("sabr").bind(part=0.0)
    lesson = lesson_of(model, method)
    loss = float(method(lesson).detach())
    lesson.again()
    found = lesson.found(lambda: torch.zeros(0))
    assert loss == pytest.approx(float(F.cross_entropy(model(found), lesson.y).detach()), rel=1e-5)
    assert told("standard", model) < loss < told("sabr", model, {"part": 0.5}) < told("sabr", model, {"part": 1.0})


def test_rows_that_the_goal_does_not_concern_are_trained_on_as_they_are() -> None:
    model, goal = dense(), Goal.directional(0, 2)
    none = Goal.directional(sources=(7,), wanted=2)
    assert told("ibp", model, {"kappa": 0.0}, goal=none) == pytest.approx(told("standard", model), rel=1e-5)
    assert told("standard", model) < told("ibp", model, {"kappa": 0.0}, goal=goal) < told("ibp", model, {"kappa": 0.0})


def certified(model: nn.Module, eps: float) -> float:
    x, y = stripes()
    return float(certify(Torch(model, outputs="logits"), x, y, Ball(eps), level="interval").certified.double().mean())


@pytest.mark.parametrize("name", CERTIFYING)
def test_it_certifies_more_than_plain_training_and_the_best_epoch_is_chosen_by_that(name: str) -> None:
    how = recipe(epochs=20, ramp=0.5, held_out=0.25)
    plain, model = dense(), dense()
    harden(plain, stripes(), Threat("t", Ball(0.05)), method=find("standard"), recipe=how)
    result = harden(model, stripes(), Threat("t", Ball(0.05)), method=find(name), recipe=how)
    assert certified(plain, 0.05) < 0.5 and certified(model, 0.05) > 0.9
    assert {e.chosen_by for e in result.history} == {"certified"}
    assert result.after.chosen == max(e.chosen or 0 for e in result.history) and (result.after.chosen or 0) > 0.8


@pytest.mark.parametrize("name", CERTIFYING)
def test_an_interrupted_training_for_bounds_ends_at_the_same_bits(name: str, tmp_path: Path) -> None:
    def train(folder: Path | None, stop: tuple[int, int] | None = None) -> nn.Module:
        def tell(tick: Tick) -> None:
            if tick.measured is None and (tick.epoch, tick.step) == stop:
                raise KeyboardInterrupt

        model = net()
        harden(
            model, stripes(), Threat("t", Ball(EPS)), recipe=recipe(epochs=3, ema=0.9), method=find(name), checkpoint=folder, progress=tell
        )
        return model

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, (2, 2))
    straight, resumed = train(None).state_dict(), train(tmp_path).state_dict()
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


@pytest.mark.parametrize("name", CERTIFYING)
def test_another_norm_is_refused_before_anything_is_trained(name: str) -> None:
    model = dense()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(BadPlan, match=rf"'{name}' works on linf.*l2"):
        harden(model, stripes(), Threat("t", Ball(1.0, 2)), method=find(name), recipe=recipe())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_an_operator_without_bounds_is_named() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    with pytest.raises(Unsupported, match="LayerNorm"):
        harden(model, stripes(), Threat("t", Ball(EPS)), method=find("ibp"), recipe=recipe(epochs=1))


def epoch(number: int, pgd: float, chosen: float | None) -> Epoch:
    return Epoch(number, 0.9, 1.0, pgd, 1.0, 1.0, 1.0, chosen_by="certified" if chosen is not None else "", chosen=chosen)


class Sound:
    def constant(self, epoch: Epoch) -> bool:
        return False


def test_what_the_method_chooses_by_comes_before_accuracy_under_pgd() -> None:
    entries = [epoch(0, 0.9, 0.0), epoch(1, 0.8, 0.4), epoch(2, 0.9, 0.3), epoch(3, 0.85, 0.4)]
    assert best_of(entries, Sound()) == 3  # type: ignore[arg-type]
    assert best_of([replace(e, chosen=None) for e in entries], Sound()) == 0  # type: ignore[arg-type]
    runs = [Run(i, 4, 1, 0.9, e.pgd, 1.0, chosen=e.chosen) for i, e in enumerate(entries)]
    assert judged(runs)[0].startswith("seed 3 is kept, the best of 4 by what epochs are chosen by")


def test_a_fall_of_pgd_accuracy_does_not_stop_a_training_that_is_judged_otherwise() -> None:
    entries = [epoch(i, p, 0.5) for i, p in enumerate((0.0, 0.9, 0.2))]
    assert overfitted(entries) == "" and overfitted([replace(e, chosen=None) for e in entries])


@pytest.mark.slow
def test_ten_thousand_tries_inside_certificates_contradict_none() -> None:
    """Digits, a convolutional network with a batch norm: rows certified by intervals and by lines, tried at random, at corners, and by PGD."""
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(raw).float().view(-1, 1, 8, 8) / 16, torch.from_numpy(labels).long()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)
        )  # fmt: skip
    threat = Threat("t", Ball(0.05))
    harden(
        model,
        (x[400:], y[400:]),
        threat,
        method=find("crown-ibp").bind(widening=1.2),
        recipe=recipe(epochs=20, batch=50, lr=3e-3, ramp=0.4),
    )
    target = Torch(model, outputs="logits")
    x, y = x[:400], y[:400]
    interval, lines = (certify(target, x, y, threat.perturbation, level=level).certified for level in ("interval", "crown"))  # type: ignore[arg-type]
    assert int(interval.sum()) > 150 and bool((lines >= interval).all())
    x, y = x[lines], y[lines]
    draw, tries = torch.Generator().manual_seed(0), 0
    for _ in range(40):
        for change in (torch.rand(x.shape, generator=draw) * 2 - 1, torch.randint(2, x.shape, generator=draw) * 2.0 - 1):
            assert torch.equal(target.labels((x + 0.08 * change).clamp(0, 1)), y)
            tries += len(x)
    o = Oracle(target, x, y, threat, seed=1)
    pgd(o, steps=40, restarts=5)
    pgd(o, steps=40, loss="margin", restarts=5)
    assert not bool(o.outcome.broken.any())
    assert tries + int(o.outcome.queries.sum()) >= 10_000
