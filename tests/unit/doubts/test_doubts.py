"""Every doubt is raised by a model made to deserve it, and an honest model raises none."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import fgsm, pgd, uniform_noise
from vauban.attacks.registry import ATTACKS
from vauban.campaign.doubts import DOUBTERS, Doubter
from vauban.campaign.doubts.rivals import SEARCH
from vauban.threat import Access, Ball, Threat

Names = Callable[..., set[str]]
Found = Callable[..., Any]


@pytest.mark.parametrize("doubter", DOUBTERS)
def test_a_doubter_raises_the_doubt_that_it_is_named_after(doubter: Doubter) -> None:
    name = doubter.__name__.replace("_", "-")  # type: ignore[attr-defined]
    assert f'"{name}"' in inspect.getsource(doubter)  # type: ignore[arg-type]


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.2])
def test_an_honest_model_raises_no_doubt(names: Names, honest: nn.Module, eps: float) -> None:
    assert names(honest, eps) == set()


def test_a_cut_gradient_is_doubted(names: Names, wrapped: Any) -> None:
    assert {"zero-gradients", "unbounded-attack-fails"} <= names(wrapped(before=lambda x: x.detach()))


def test_rounded_inputs_are_doubted(names: Names, wrapped: Any) -> None:
    assert {"zero-gradients", "noise-beats-gradients"} & names(wrapped(before=lambda x: (x * 3).round() / 3), 0.2)


def test_saturated_scores_are_doubted(names: Names, wrapped: Any) -> None:
    assert "zero-gradients" in names(wrapped(after=lambda z: (1000 * z).sigmoid()), 0.2)


def test_not_a_number_is_doubted_and_never_a_success(names: Names, wrapped: Any) -> None:
    assert "not-a-number" in names(wrapped(after=lambda z: torch.where(z.abs() > 0.4, z, torch.nan)), 0.15)


def test_a_gradient_that_is_not_a_number_is_doubted(names: Names, wrapped: Any) -> None:
    class Root(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
            return x.clone()

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
            return g * torch.nan

    assert "zero-gradients" in names(wrapped(before=Root.apply))


def test_an_answer_that_changes_is_doubted(names: Names, wrapped: Any) -> None:
    assert "not-deterministic" in names(wrapped(after=lambda z: z + 0.01 * torch.randn_like(z)))


def test_an_answer_that_depends_on_its_batch_is_doubted(names: Names, wrapped: Any) -> None:
    assert "batch-dependent" in names(wrapped(after=lambda z: z + 0.2 * z.mean(0, keepdim=True).abs()))


def test_too_few_steps_are_doubted(names: Names, honest: nn.Module) -> None:
    assert "more-steps-help" in names(honest, 0.15, attacks=[pgd(steps=2, step=0.01, start="clean")])


def test_one_step_that_beats_many_is_doubted(names: Names, wrapped: Any, rows: tuple[Tensor, Tensor]) -> None:
    def trap(x: Tensor) -> Tensor:
        """Uphill from the clean rows, and a slope the other way everywhere off them: long climbs turn back."""
        off_grid = ((x * 100).round() / 100 - x).abs().amax(1, keepdim=True) > 1e-6
        return torch.where(off_grid, 2 * x.detach() - x, x)

    x, y = rows
    assert "one-step-beats-many-step" in names(wrapped(before=trap), 0.1937, data=((x * 100).round() / 100, y))


def test_noise_that_beats_gradients_is_doubted(names: Names, wrapped: Any) -> None:
    """The gradient leads away from the boundary, which noise of this size crosses."""
    assert "noise-beats-gradients" in names(wrapped(before=lambda x: 2 * x.detach() - x), 0.6, attacks=[pgd(steps=10)])
    assert "noise-beats-gradients" not in names(wrapped(), 0.3, attacks=[pgd(steps=10)])


def test_too_few_rows_for_the_promise_is_doubted(names: Names, found: Found, honest: nn.Module) -> None:
    rate = found(honest, 0.15).robust_accuracy
    assert 0.2 < rate < 0.8
    assert "too-few-rows" in names(honest, 0.15, promises={"t": rate - 0.01})
    assert "too-few-rows" not in names(honest, 0.15, promises={"t": rate - 0.2})


def test_few_rows_without_a_promise_are_doubted(found: Found, honest: nn.Module, rows: tuple[Tensor, Tensor]) -> None:
    x, y = rows
    result = found(honest, 0.2, data=(x[:30], y[:30]), attacks=[pgd(steps=10)])
    low, high = result.robust.interval
    assert ("too-few-rows" in {d.name for d in result.doubts}) == (high - low > 0.2)


@pytest.mark.parametrize(
    ("access", "doubts"), [(Access.NONE, set()), (Access.LABEL, {"access-not-used"}), (Access.SCORE, {"access-not-used"})]
)
def test_a_blind_attacker_raises_no_doubt_about_gradients(names: Names, wrapped: Any, access: Access, doubts: set[str]) -> None:
    model = wrapped(before=lambda v: v.detach())
    assert names(model, threats=Threat("t", Ball(0.05), access), attacks=[uniform_noise()]) == doubts


def test_a_doubted_number_never_keeps_its_promise(wrapped: Any, rows: tuple[Tensor, Tensor]) -> None:
    record = vauban.audit(
        vauban.Torch(wrapped(before=lambda v: v.detach()), outputs="logits"), *rows,
        threats=Threat("t", Ball(0.05)), attacks=[pgd(steps=10)], promises={"t": 0.5},
    )  # fmt: skip
    assert record["t"].robust_accuracy > 0.9
    assert not record.holds


def test_bounds_of_each_feature_bound_the_boundless_attack_too(names: Names, honest: nn.Module) -> None:
    lo, hi = [0.0] * 11 + [-500.0], [1.0] * 11 + [350.0]
    assert "unbounded-attack-fails" not in names(honest, threats=Threat("t", Ball(0.1, lo=lo, hi=hi)), attacks=[pgd(steps=10)])


def test_no_row_left_to_attack_is_no_reason_to_fail(names: Names, honest: nn.Module, rows: tuple[Tensor, Tensor]) -> None:
    """Every row errs when clean, or every row falls."""
    x, y = rows
    assert "wrong-normalisation" in names(honest, data=(x, 1 - y), attacks=[fgsm()])
    assert names(honest, 0.5, attacks=[fgsm()]) == set()


def test_the_probes_attacks_are_registered() -> None:
    assert {"fgsm", "pgd", "uniform-noise", "jsma", "fmn", SEARCH} <= set(ATTACKS)
