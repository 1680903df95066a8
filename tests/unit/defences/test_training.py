"""The laws of adversarial training: it hardens, it trains on the worst inputs, and it leaves the model as a user expects."""

from __future__ import annotations

import pytest
import torch
from small_training import EPS, net, plainly_trained, recipe, stripes
from torch import Tensor, nn

from vauban.attacks import Attack, ddn, fgsm, pgd, uniform_noise
from vauban.defences.training import find, harden
from vauban.defences.training.average import Average
from vauban.defences.training.inner import for_training, worst
from vauban.defences.training.rows import Part
from vauban.defences.training.steps import Steps
from vauban.defences.training.trainee import Trainee
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan, BadTarget
from vauban.target import Torch
from vauban.threat import Access, Ball, Goal, Threat


def robust(model: nn.Module, threat: Threat) -> float:
    """Robust accuracy under 40-step PGD, on the rows themselves."""
    x, y = stripes()
    o = Oracle(Torch(model), x, y, threat)
    pgd(o)
    return float(o.outcome.standing.float().mean())


def test_it_makes_a_model_withstand_more_than_plain_training_does(threat: Threat, inner: Attack) -> None:
    model = plainly_trained()
    before = robust(model, threat)
    result = harden(model, stripes(), threat, inner, recipe(epochs=12))
    after = robust(model, threat)
    assert before < 0.3 and after > 0.8
    assert result.after.pgd == max(e.pgd for e in result.history) and not result.stopped
    assert result.after.clean > 0.95


def test_the_inner_loop_finds_inputs_at_the_edge_of_the_ball_where_the_loss_is_high(threat: Threat) -> None:
    model, (x, y) = plainly_trained(), stripes(30)
    ids = torch.arange(30)
    found = worst(Torch(model), x, y, for_training(threat), pgd(steps=10, step=0.25), ids=ids, seed=0)
    change = (found - x).abs().flatten(1)
    assert (change <= EPS + 1e-6).all() and (found >= 0).all() and (found <= 1).all()
    assert (change > 0.99 * EPS).float().mean() > 0.7
    loss = nn.functional.cross_entropy
    assert loss(model(found), y) > 4 * loss(model(x), y)


def test_a_row_is_attacked_the_same_in_any_batch_and_otherwise_in_another_epoch(threat: Threat) -> None:
    model, (x, y) = plainly_trained(), stripes(12)
    ids = torch.arange(100, 112)
    whole = worst(Torch(model), x, y, threat, pgd(steps=2), ids=ids, seed=5)
    alone = worst(Torch(model), x[7:8], y[7:8], threat, pgd(steps=2), ids=ids[7:8], seed=5)
    other = worst(Torch(model), x, y, threat, pgd(steps=2), ids=ids, seed=6)
    assert torch.allclose(whole[7:8], alone, atol=1e-6) and not torch.allclose(whole, other, atol=1e-3)


def test_rows_that_a_directional_goal_does_not_concern_are_left_clean() -> None:
    model, (x, y) = plainly_trained(), stripes(12)
    threat = Threat("t", Ball(EPS), goal=Goal.directional(0, 2))
    found = worst(Torch(model), x, y, threat, pgd(steps=3), ids=torch.arange(12), seed=0)
    moved = (found != x).flatten(1).any(1)
    assert torch.equal(moved, y == 0)


def test_a_threat_without_access_or_budget_is_trained_against_with_gradients(inner: Attack) -> None:
    blind = Threat("t", Ball(EPS), access=Access.NONE, queries=1)
    result = harden(plainly_trained(), stripes(), blind, inner, recipe(epochs=1))
    assert result.history[-1].loss is not None


@pytest.mark.parametrize("attack", [fgsm(), uniform_noise(), pgd(steps=2, loss="margin")], ids=lambda a: a.name)
def test_any_attack_that_raises_a_loss_can_be_the_inner_loop(attack: Attack, threat: Threat) -> None:
    assert harden(plainly_trained(), stripes(), threat, attack, recipe(epochs=1)).history[-1].number == 1


def test_modes_gradients_and_generators_are_afterwards_as_they_were(threat: Threat, inner: Attack) -> None:
    model = plainly_trained()
    model.train()
    model.layers[1].eval()  # type: ignore[index]
    model.layers[5].bias.requires_grad_(False)  # type: ignore[index]
    bias, state = model.layers[5].bias.clone(), torch.random.get_rng_state()  # type: ignore[index]
    harden(model, stripes(), threat, inner, recipe(epochs=1))
    assert model.training and model.layers[0].training and not model.layers[1].training  # type: ignore[index]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]
    assert torch.equal(model.layers[5].bias, bias)  # type: ignore[index]


def test_the_loss_is_taken_in_training_mode_and_the_attack_in_evaluation_mode(threat: Threat, inner: Attack) -> None:
    seen: list[tuple[bool, bool]] = []
    model = plainly_trained()
    model.layers[1].register_forward_hook(  # type: ignore[index]
        lambda m, a, out: seen.append((m.training, any(p.requires_grad for p in model.parameters()))) if m is model.layers[1] else None  # type: ignore[index]
    )
    harden(model, stripes(), threat, inner, recipe(epochs=1))
    assert set(seen) == {(True, True), (False, False)} and sum(training for training, _ in seen) == 4


def test_clean_rows_are_left_alone_and_cost_no_attack(threat: Threat, inner: Attack) -> None:
    clean = harden(plainly_trained(), stripes(), threat, inner, recipe(epochs=2, clean_share=0.99))
    attacked = harden(plainly_trained(), stripes(), threat, inner, recipe(epochs=2))
    assert clean.history[-1].loss is not None and attacked.history[-1].loss is not None
    assert clean.history[-1].loss < attacked.history[-1].loss


@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"optimiser": "sgd", "lr": 0.05}, {"optimiser": "adamw"}, {"label_smoothing": 0.1},
                                     {"schedule": "constant"}, {"precision": "bfloat16"}, {"precision": "auto"}, {"clip": 0.0}], ids=str)  # fmt: skip
def test_every_option_trains(changes: dict[str, object], threat: Threat, inner: Attack) -> None:
    model = plainly_trained()
    result = harden(model, stripes(), threat, inner, recipe(**changes))
    assert result.after.clean > 0.8, changes
    assert all(p.is_contiguous() and p.dtype == torch.float32 for p in model.parameters())


def test_training_costs_more_than_plain_training_and_says_how_much(threat: Threat) -> None:
    cheap = harden(plainly_trained(), stripes(), threat, fgsm(), recipe(epochs=2))
    dear = harden(plainly_trained(), stripes(), threat, pgd(steps=30), recipe(epochs=2))
    assert 1 < cheap.cost < dear.cost


def test_the_same_seed_gives_the_same_weights_and_another_does_not(threat: Threat, inner: Attack) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = plainly_trained(dropout=0.2)
        harden(model, stripes(), threat, inner, recipe(epochs=2, seed=seed, keep="last"))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    torch.manual_seed(1)
    first = weights(3)
    torch.manual_seed(2)
    assert torch.equal(first, weights(3)) and not torch.equal(first, weights(4))


def test_what_cannot_be_trained_is_refused_in_one_sentence(threat: Threat, inner: Attack) -> None:
    x, y = stripes()
    frozen = net().requires_grad_(False)
    cases = [
        (lambda: harden(net(), (x, y), threat, ddn(), recipe()), BadPlan, "smallest change|works on"),
        (lambda: harden(net(), (x, y), Threat("t", Ball(0.3, "l2")), ddn(), recipe()), BadPlan, "smallest change"),
        (lambda: harden(net(), (x, y), Threat("t", Ball()), inner, recipe()), BadPlan, "radius"),
        (lambda: harden(net(), (x, y + 1), threat, inner, recipe()), BadData, "classes 0 to 2"),
        (lambda: harden(net(), (x[:20], y[:20]), threat, inner, recipe()), BadData, "held_out"),
        (lambda: harden(net(), (x * 2, y), threat, inner, recipe()), BadData, "outside the box"),
        (lambda: harden(frozen, (x, y), threat, inner, recipe()), BadTarget, "requires_grad"),
    ]
    for attempt, error, words in cases:
        with pytest.raises(error, match=words):
            attempt()


def test_the_running_mean_of_the_weights_is_what_is_measured_and_kept(threat: Threat, inner: Attack) -> None:
    model = nn.Linear(2, 1, bias=False)
    expected = model.weight.detach().clone()
    average = Average(model, 0.5)
    for step in range(6):
        with torch.no_grad():
            model.weight += step + 1.0
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    own = model.weight.detach().clone()
    with average.shown():
        assert torch.allclose(model.weight, expected)
    assert torch.equal(model.weight, own)
    steps = Steps(
        Trainee.of(plainly_trained()),
        Part(*stripes(), torch.arange(160)),
        threat,
        inner,
        recipe(ema=0.999, clip=0.0),
        find("adversarial").bind(),
    )
    steps.epoch(1, lambda step, loss: None)
    live, kept = dict(steps.model.named_parameters()), steps.weights()
    assert all(not torch.equal(live[name], kept[name]) for name in live)
    assert torch.equal(steps.model.layers[1].running_mean, kept["layers.1.running_mean"])  # type: ignore[index]


class Drawing(nn.Module):
    """Notes the random numbers it draws in training."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drawn = net(0), []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.drawn.append(float(torch.rand(())))
        return self.inner(x)


def test_what_the_model_draws_differs_in_every_step_of_every_epoch(threat: Threat, inner: Attack) -> None:
    model = Drawing()
    harden(model, stripes(), threat, inner, recipe(epochs=3))
    assert len(model.drawn) == len(set(model.drawn)) == 12
