"""The signs of a training gone wrong, on histories whose verdict is known and on trainings made to go wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_training import plainly_trained, recipe, stripes
from torch import Tensor, nn

from vauban.attacks import Attack
from vauban.defences.training import Epoch, TrainingStopped, harden
from vauban.defences.training.gates import best_of, check_not_constant, overfitted, remembered
from vauban.target import Torch
from vauban.threat import Ball, Threat


class Even:
    """A probe of rows in which half are of the commonest class."""

    def constant(self, epoch: Epoch) -> bool:
        return epoch.entropy < 0.3 and epoch.clean <= 0.52


def history(*pgd: float, fgsm: float | None = None, eps: float = 1.0, entropy: float = 1.0) -> list[Epoch]:
    return [Epoch(i, 0.9 if entropy else 0.5, p if fgsm is None else fgsm, p, entropy, 1.0, eps) for i, p in enumerate(pgd)]


def test_a_gap_between_one_step_and_many_does_not_stop_a_training_that_makes_progress() -> None:
    assert overfitted(history(0.1, 0.2, 0.3, 0.4, fgsm=0.7)) == ""
    assert overfitted([*history(0.1, 0.5), *history(0, 0, 0.45, fgsm=0.7)[2:]]) == "", "a gap in one epoch only"


def test_a_lasting_gap_between_one_step_and_many_stops_at_the_full_radius() -> None:
    assert "FGSM" in overfitted(history(0.1, 0.5, 0.5, fgsm=0.71))
    assert overfitted(history(0.1, 0.5, 0.5, fgsm=0.69)) == ""
    assert overfitted(history(0.1, 0.5, 0.5, fgsm=0.9, eps=0.9)) == ""


def test_a_fall_of_pgd_accuracy_stops_but_one_from_the_model_as_it_came_does_not() -> None:
    assert "fell from 60.0% in epoch 1" in overfitted(history(0.0, 0.6, 0.55, 0.35))
    assert overfitted(history(0.0, 0.6, 0.55, 0.45)) == ""
    assert overfitted(history(0.9, 0.3)) == ""


def test_the_best_epoch_is_never_a_constant_predictor() -> None:
    entries = [*history(0.0, 0.2), Epoch(2, 0.5, 0.5, 0.5, 0.0, 1.0, 1.0)]
    assert best_of(entries, Even()) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(("epochs", "final", "stops"), [(2, False, False), (2, True, True), (3, False, True)])
def test_constant_answers_end_training_when_they_last(epochs: int, final: bool, stops: bool) -> None:
    entries = history(*[0.5] * (epochs + 1), entropy=0.0)
    if not stops:
        check_not_constant(entries, Even(), steps=1000, final=final)  # type: ignore[arg-type]
        return
    with pytest.raises(TrainingStopped, match="ramp"):
        check_not_constant(entries, Even(), steps=1000, final=final)  # type: ignore[arg-type]


def test_a_model_that_has_only_begun_may_answer_anything() -> None:
    check_not_constant(history(0.5, 0.5, 0.5, 0.5, entropy=0.0), Even(), steps=99, final=False)  # type: ignore[arg-type]


class Stuck(nn.Module):
    """A model that answers class 0 whatever it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x.flatten(1)) * 1e-3 + torch.tensor([1.0, 0.0, 0.0])


def test_a_constant_predictor_raises_and_says_what_to_change(threat: Threat, inner: Attack) -> None:
    with pytest.raises(TrainingStopped, match=r"same class .*lower learning rate"):
        harden(Stuck(), stripes(), threat, inner, recipe())


class Exploding(nn.Module):
    """A model whose outputs stop being finite in training mode after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.inner, self.left = plainly_trained(), steps

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        return self.inner(x) * (1 if self.left > 0 or not self.training else float("nan"))


def test_a_loss_that_is_not_finite_raises_before_it_spoils_the_weights(threat: Threat, inner: Attack) -> None:
    model = Exploding(2)
    with pytest.raises(TrainingStopped, match=r"epoch 1, step 2: .*learning rate"):
        harden(model, stripes(), threat, inner, recipe())
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_loss_that_turns_bad_later_rolls_back_to_the_best_epoch(threat: Threat, inner: Attack) -> None:
    model = Exploding(4 * 6 + 2)
    result = harden(model, stripes(), threat, inner, recipe(epochs=12))
    assert "not finite" in result.stopped and 0 < result.best <= 6 == len(result.history) - 1
    assert all(torch.isfinite(p).all() for p in model.parameters())


class Masked(nn.Module):
    """A model that hides its gradient from a single step once it has seen enough: what catastrophic overfitting looks like from outside."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.inner, self.left = plainly_trained(), steps

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        if self.left >= 0:
            return self.inner(x)
        ripple = (x * 400).sin().flatten(1).sum(1, keepdim=True)  # its gradient points nowhere useful for one long step
        return self.inner(x) + 30 * ripple * torch.tensor([1.0, -0.5, -0.5])


def test_a_fall_under_attack_rolls_back_and_says_so(threat: Threat, inner: Attack) -> None:
    model = Masked(4 * 10)
    result = harden(model, stripes(), threat, inner, recipe(epochs=14))
    assert result.stopped and len(result.history) - 1 < 12
    assert result.after.pgd == max(e.pgd for e in result.history) > result.history[-1].pgd + 0.2


def learnt(trained_on: float, held: float) -> list[Epoch]:
    return [Epoch(0, 0.9, 0, 0, 1.0), Epoch(1, 0.9, 0.5, held, 1.0, 1.0, 1.0, trained_on=trained_on)]


@pytest.mark.parametrize(("trained_on", "held", "rows", "told"), [
    (0.80, 0.66, 512, False), (0.80, 0.64, 512, True), (0.80, 0.60, 30, False), (0.95, 0.40, 30, True), (0.50, 0.90, 512, False),
])  # fmt: skip
def test_a_gap_to_the_rows_trained_on_that_is_no_chance_is_robust_overfitting(
    trained_on: float, held: float, rows: int, told: bool
) -> None:
    said = remembered(learnt(trained_on, held), 1, 1, rows)
    assert bool(said) is told
    assert not told or f"{trained_on:.1%} of rows trained on" in said


def test_robust_overfitting_names_the_epoch_that_is_kept_and_the_one_that_could_have_been() -> None:
    assert "; epoch 1 is kept; use" in remembered(learnt(0.9, 0.4), 1, 1, 512)
    assert '; the last epoch is kept, as was asked for, and keep = "best" would keep epoch 0; use' in remembered(
        learnt(0.9, 0.4), 1, 0, 512
    )


def test_of_epochs_that_are_equal_the_first_is_the_best() -> None:
    """Training that gained nothing leaves the model as it came."""
    assert best_of(history(0.3, 0.3, 0.3), Even()) == 0  # type: ignore[arg-type]
    assert best_of(history(0.1, 0.3, 0.2, 0.3), Even()) == 1  # type: ignore[arg-type]
    cleaner = [*history(0.1, 0.3), Epoch(2, 0.95, 0.3, 0.3, 1.0, 1.0, 1.0)]
    assert best_of(cleaner, Even()) == 2  # type: ignore[arg-type]


def test_rows_learnt_by_heart_are_told_and_the_best_epoch_is_kept(threat: Threat, inner: Attack) -> None:
    x, y = stripes()
    g = torch.Generator().manual_seed(0)
    noise = torch.where(torch.rand(160, generator=g) < 0.5, y, torch.randint(3, (160,), generator=g))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 3))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        for layer in (model[1], model[3]):
            layer.reset_parameters()  # type: ignore[operator]
    tiny = Threat("t", Ball(0.002))
    target = Torch(model, outputs="logits", mean=0.5, std=0.04)
    came = {name: t.clone() for name, t in model.state_dict().items()}
    loose = recipe(epochs=40, lr=0.02, weight_decay=0.0, ramp=0.0, clip=0.0)
    result = harden(target, (x, noise), tiny, inner, loose)
    assert "robust overfitting" in result.notes[0]
    assert f"epoch {result.best} is kept" in result.notes[0]
    assert result.after.pgd == max(e.pgd for e in result.history)
    model.load_state_dict(came)
    last = harden(target, (x, noise), tiny, inner, replace(loose, epochs=30, lr=0.003, keep="last"))
    assert last.best == 30 and not last.stopped
    best = max(last.history, key=lambda e: e.rank).number
    assert f'the last epoch is kept, as was asked for, and keep = "best" would keep epoch {best};' in last.notes[0]
    sound = harden(plainly_trained(), (x, y), threat, inner, recipe(epochs=2))
    assert not sound.notes
