"""Every doubt is raised by a model made to deserve it, and an honest model raises none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import attack, fgsm, pgd, uniform_noise
from vauban.attacks.registry import ATTACKS
from vauban.campaign.record import Finding
from vauban.doors import Oracle
from vauban.threat import Access, Ball, Threat

torch.set_num_threads(1)
N = 120


def blobs(n: int = N, d: int = 12) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    x = torch.rand(n, d, generator=g) * 0.3 + 0.2 + 0.3 * y[:, None]
    return x, y


class Honest(nn.Module):
    """A linear boundary between the blobs."""

    def forward(self, x: Tensor) -> Tensor:
        z = 8 * (x.mean(1) - 0.5)
        return torch.stack([-z, z], 1)


class Wrapped(nn.Module):
    """An honest model with a twist of its scores or inputs."""

    def __init__(self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.inner, self.before, self.after = Honest(), before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)))


def finding(model: nn.Module, eps: float = 0.05, **options: object) -> Finding:
    x, y = blobs()
    options = {"attacks": [fgsm(), pgd(steps=10)], "threats": Threat("t", Ball(eps)), **options}
    return vauban.audit(vauban.Torch(model, outputs="logits"), x, y, **options)["t"]  # type: ignore[arg-type]


def names(found: Finding) -> set[str]:
    return {d.name for d in found.doubts}


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.2])
def test_an_honest_model_raises_no_doubt(eps: float) -> None:
    assert names(finding(Honest(), eps)) == set()


def test_a_cut_gradient_is_doubted() -> None:
    found = finding(Wrapped(before=lambda x: x.detach()))
    assert {"zero-gradients", "unbounded-attack-fails"} <= names(found)


def test_rounded_inputs_are_doubted() -> None:
    assert {"zero-gradients", "noise-beats-gradients"} & names(finding(Wrapped(before=lambda x: (x * 3).round() / 3), eps=0.2))


def test_saturated_scores_are_doubted() -> None:
    found = finding(Wrapped(after=lambda z: (1000 * z).sigmoid()), eps=0.2)
    assert "zero-gradients" in names(found)


def test_not_a_number_is_doubted_and_never_a_success() -> None:
    found = finding(Wrapped(after=lambda z: torch.where(z.abs() > 0.4, z, torch.nan)), eps=0.15)
    assert "not-a-number" in names(found)


def test_a_gradient_that_is_not_a_number_is_doubted() -> None:
    class Root(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
            return x.clone()

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
            return g * torch.nan

    assert "zero-gradients" in names(finding(Wrapped(before=Root.apply)))


def test_an_answer_that_changes_is_doubted() -> None:
    assert "not-deterministic" in names(finding(Wrapped(after=lambda z: z + 0.01 * torch.randn_like(z))))


def test_an_answer_that_depends_on_its_batch_is_doubted() -> None:
    found = finding(Wrapped(after=lambda z: z + 0.2 * z.mean(0, keepdim=True).abs()))
    assert "batch-dependent" in names(found)


def test_too_few_steps_are_doubted() -> None:
    found = finding(Honest(), 0.15, attacks=[pgd(steps=2, step=0.01, start="clean")])
    assert "more-steps-help" in names(found)


def test_one_step_that_beats_many_is_doubted() -> None:
    def trap(x: Tensor) -> Tensor:
        """Uphill from the clean rows, and a slope the other way everywhere off them: long climbs turn back."""
        off_grid = ((x * 100).round() / 100 - x).abs().amax(1, keepdim=True) > 1e-6
        return torch.where(off_grid, 2 * x.detach() - x, x)

    x, y = blobs()
    x = (x * 100).round() / 100
    attacks = [fgsm(), pgd(steps=10)]
    found = vauban.audit(vauban.Torch(Wrapped(before=trap), outputs="logits"), x, y, threats=Threat("t", Ball(0.1937)), attacks=attacks)[
        "t"
    ]
    assert "one-step-beats-many-step" in names(found)


def test_noise_that_beats_gradients_is_doubted() -> None:
    found = finding(Wrapped(before=lambda x: 2 * x.detach() - x), eps=0.3)
    assert {"noise-beats-gradients", "one-step-beats-many-step", "unbounded-attack-fails"} & names(found)


def test_too_few_rows_for_the_promise_is_doubted() -> None:
    rate = finding(Honest(), 0.15).robust_accuracy
    assert 0.2 < rate < 0.8
    assert "too-few-rows" in names(finding(Honest(), 0.15, promises={"t": rate - 0.01}))
    assert "too-few-rows" not in names(finding(Honest(), 0.15, promises={"t": rate - 0.2}))


def test_few_rows_without_a_promise_are_doubted() -> None:
    x, y = blobs(30)
    found = vauban.audit(vauban.Torch(Honest(), outputs="logits"), x, y, threats=Threat("t", Ball(0.2)), attacks=[pgd(steps=10)])["t"]
    low, high = found.robust.interval
    assert ("too-few-rows" in names(found)) == (high - low > 0.2)


def blind(access: Access) -> set[str]:
    x, y = blobs()
    model = vauban.Torch(Wrapped(before=lambda v: v.detach()), outputs="logits")
    return names(vauban.audit(model, x, y, threats=Threat("t", Ball(0.05), access), attacks=[uniform_noise()])["t"])


def test_a_blind_attacker_raises_no_doubt_about_gradients() -> None:
    assert blind(Access.NONE) == set()


@pytest.mark.parametrize("access", [Access.LABEL, Access.SCORE])
def test_access_that_no_attack_used_is_doubted(access: Access) -> None:
    assert blind(access) == {"access-not-used"}


def test_a_doubted_number_never_keeps_its_promise() -> None:
    x, y = blobs()
    record = vauban.audit(
        vauban.Torch(Wrapped(before=lambda v: v.detach()), outputs="logits"), x, y,
        threats=Threat("t", Ball(0.05)), attacks=[pgd(steps=10)], promises={"t": 0.5},
    )  # fmt: skip
    assert record["t"].robust_accuracy > 0.9
    assert not record.holds


def test_bounds_of_each_feature_bound_the_boundless_attack_too() -> None:
    x, y = blobs()
    lo, hi = [0.0] * 11 + [-500.0], [1.0] * 11 + [350.0]
    found = vauban.audit(
        vauban.Torch(Honest(), outputs="logits"), x, y, threats=Threat("t", Ball(0.1, lo=lo, hi=hi)), attacks=[pgd(steps=10)]
    )["t"]
    assert "unbounded-attack-fails" not in names(found)


def test_the_probes_attacks_are_registered() -> None:
    assert {"fgsm", "pgd", "uniform-noise", "jsma"} <= set(ATTACKS)
    assert callable(attack)
    assert Oracle
