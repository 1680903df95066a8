"""Doubts about the answers: models made to deserve each, and honest ones that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import fgsm, pgd
from vauban.campaign.doubts.answers import VARIANCE, _draws_needed, batch_dependent, too_few_draws
from vauban.campaign.doubts.surface import surface_of
from vauban.noise import RowNoise

Names = Callable[..., set[str]]


class Normed(nn.Module):
    """A layer that uses the statistics of its batch while it trains, and those it has learned afterwards."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, affine=False, momentum=0.0, **options)
        if self.norm.running_mean is not None:
            self.norm.running_mean.fill_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(x[:, None]).mean((1, 2))
        return torch.stack([-z, z], 1)


def as_it_is(model: nn.Module) -> vauban.Function:
    """A function around a module, whose mode nobody sets."""
    return vauban.Function(model, access="gradient", as_numpy=False, outputs="logits", name="f")


def test_a_module_left_in_training_mode_is_doubted_behind_a_function_and_put_right_as_a_target(names: Names) -> None:
    assert "batch-dependent" in names(as_it_is(Normed().train()))
    assert "batch-dependent" not in names(as_it_is(Normed().eval()))
    assert "batch-dependent" not in names(Normed().train())


def test_statistics_of_the_batch_are_doubted_in_evaluation_mode_too(names: Names) -> None:
    assert "batch-dependent" in names(Normed(track_running_stats=False).eval())


def test_dropout_that_is_never_turned_off_is_doubted(names: Names, wrapped: Any) -> None:
    assert "not-deterministic" in names(wrapped(before=lambda x: torch.nn.functional.dropout(x, 0.1)))
    assert "not-deterministic" not in names(wrapped(before=lambda x: torch.nn.functional.dropout(x, 0.1, training=False)))


def noisy(size: float, mixed: float = 0.0) -> vauban.Function:
    """Declared randomised: gradients are those of the linear boundary times 1 + noise; `mixed` adds something of the batch."""

    def f(x: Tensor, draw: RowNoise) -> Tensor:
        z = 8 * (x.mean(1) - 0.5) * (1 + size * draw.normal()) + mixed * x.mean()
        return torch.stack([-z, z], 1)

    return vauban.Function(f, access="gradient", as_numpy=False, randomised=True, outputs="logits")


def test_a_randomised_target_may_depend_on_its_draw_and_not_on_its_batch(names: Names) -> None:
    assert not names(noisy(0.1), doubters=[batch_dependent])
    assert names(noisy(0.1, mixed=0.5), doubters=[batch_dependent]) == {"batch-dependent"}


@pytest.mark.parametrize(("size", "doubted"), [(0.1, False), (0.5, False), (3.0, True)])
def test_too_few_draws_are_doubted_where_gradients_vary_much(names: Names, size: float, doubted: bool) -> None:
    assert ("too-few-draws" in names(noisy(size), attacks=[fgsm()], doubters=[too_few_draws])) is doubted


def test_an_expectation_over_enough_draws_is_not_doubted(names: Names) -> None:
    assert "too-few-draws" in names(noisy(2.0), attacks=[fgsm()], doubters=[too_few_draws])
    assert "too-few-draws" not in names(
        noisy(2.0), surrogate=vauban.Expectation(noisy(2.0), 20), attacks=[fgsm()], doubters=[too_few_draws]
    )


@pytest.mark.parametrize("size", [1.0, 2.0])
def test_the_draws_needed_are_those_of_the_closed_form(found: Callable[..., Any], size: float) -> None:
    seen: list[float] = []

    def look(scene: Any) -> None:
        surface = surface_of(scene)
        assert surface is not None
        seen.append(_draws_needed(surface))

    found(noisy(size), attacks=[fgsm()], doubters=[look])
    exact = size**2 / VARIANCE  # the gradient is g (1 + size n): its variance over its squared mean is size^2
    assert exact / 2.5 < seen[0] < exact * 2.5


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda z: z,
    "probabilities": lambda z: z.softmax(1),
    "log-probabilities": lambda z: z.log_softmax(1),
    "sigmoid": lambda z: (z[:, 1:] - z[:, :1]).sigmoid(),
    "binary-logit": lambda z: z[:, 1:] - z[:, :1],
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_are_what_they_are_declared_to_be_are_not_doubted(names: Names, wrapped: Any, kind: str) -> None:
    assert "wrong-output-kind" not in names(vauban.Torch(wrapped(after=KINDS[kind]), outputs=kind))
    assert "wrong-output-kind" not in names(vauban.Torch(wrapped(after=KINDS[kind]), outputs=kind if kind == "binary-logit" else "auto"))


@pytest.mark.parametrize(
    ("real", "declared"),
    [("probabilities", "logits"), ("logits", "probabilities"), ("log-probabilities", "probabilities"), ("logits", "log-probabilities")],
)
def test_outputs_declared_to_be_others_are_doubted(names: Names, wrapped: Any, real: str, declared: str) -> None:
    assert "wrong-output-kind" in names(vauban.Torch(wrapped(after=KINDS[real]), outputs=declared))


def test_log_probabilities_serve_as_logits(names: Names, wrapped: Any) -> None:
    assert not names(vauban.Torch(wrapped(after=KINDS["log-probabilities"]), outputs="logits"), attacks=[pgd(loss="margin")])
