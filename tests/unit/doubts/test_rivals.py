"""Doubts by comparison: scores, noise and other models that do better than the gradients that attacks were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import pgd, square
from vauban.campaign.api import rows_of
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.run import audit_plan
from vauban.threat import Ball, Threat

Names = Callable[..., set[str]]


def backwards(x: Tensor) -> Tensor:
    """The same input, with a gradient that points the other way."""
    return 2 * x.detach() - x


def test_a_search_by_scores_that_beats_gradients_is_doubted(names: Names, wrapped: Any) -> None:
    assert "scores-beat-gradients" in names(wrapped(before=backwards), 0.2)


@pytest.mark.parametrize("eps", [0.05, 0.12, 0.2])
def test_a_search_by_scores_does_not_beat_honest_gradients(names: Names, wrapped: Any, eps: float) -> None:
    assert "scores-beat-gradients" not in names(wrapped(), eps)


def test_what_the_campaigns_own_search_broke_counts(names: Names, wrapped: Any) -> None:
    assert "scores-beat-gradients" in names(wrapped(before=backwards), 0.2, attacks=[pgd(), square(queries=150)])
    assert "scores-beat-gradients" not in names(wrapped(), 0.2, attacks=[pgd(), square(queries=150)])


def test_the_model_inside_the_defence_is_found_and_its_gradients_do_better(found: Callable[..., Any], wrapped: Any) -> None:
    doubts = {d.name: d.text for d in found(wrapped(before=backwards), 0.2).doubts}
    assert "'inner'" in doubts["transfer-beats-gradients"]


def test_the_target_inside_a_target_is_found(names: Names, honest: nn.Module) -> None:
    base = vauban.Torch(honest, outputs="logits")
    naive = vauban.Preprocessed(lambda x: (x * 20).round() / 20, base, differentiable=True)
    through = vauban.Preprocessed(lambda x: (x * 20).round() / 20, base)
    assert "transfer-beats-gradients" in names(naive, 0.2)
    assert "transfer-beats-gradients" not in names(through, 0.2)


@pytest.mark.parametrize("before", [lambda x: x, lambda x: x * 1.0 + 0.01])
def test_a_model_inside_an_honest_one_is_no_reason_to_doubt(names: Names, wrapped: Any, before: Callable[[Tensor], Tensor]) -> None:
    assert "transfer-beats-gradients" not in names(wrapped(before=before), 0.12)


def test_the_surrogate_of_another_threat_is_compared(wrapped: Any, honest: nn.Module, rows: tuple[Tensor, Tensor]) -> None:
    class Sealed(nn.Module):
        """Nothing inside that could be found."""

        def forward(self, x: Tensor) -> Tensor:
            z = 8 * (backwards(x).mean(1) - 0.5)
            return torch.stack([-z, z], 1)

    threats = [Threat("own", Ball(0.2)), Threat("transfer", Ball(0.2))]
    data = rows_of(*rows, threats[0], classes=None, groups=None, layout="auto")
    base = vauban.Own(vauban.Torch(honest, outputs="logits"))

    def doubts(*sieges: Siege) -> set[str]:
        return {d.name for d in audit_plan(Plan("two", vauban.Torch(Sealed(), outputs="logits"), data, sieges))["own"].doubts}

    own, transfer = Siege(threats[0], (pgd(steps=10),)), Siege(threats[1], (pgd(steps=10),), surrogate=base)
    assert "transfer-beats-gradients" not in doubts(own)
    assert "transfer-beats-gradients" in doubts(own, transfer)


def test_hooks_leave_the_model_as_it_was(names: Names, wrapped: Any) -> None:
    model = wrapped(before=backwards)
    names(model, 0.2)
    assert not any(m._forward_hooks for m in model.modules())
