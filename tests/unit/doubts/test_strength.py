"""Doubts about how far the attacks went: unfinished, worse with more room, fooled by a switch, or stopped by a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import fgsm, fmn, pgd, uniform_noise
from vauban.campaign.doubts.probe import once, probe_of
from vauban.campaign.doubts.trace import trace

Names = Callable[..., set[str]]


def test_a_climb_that_was_still_rising_is_doubted(names: Names, honest: nn.Module) -> None:
    assert "loss-still-rising" in names(honest, 0.2, attacks=[pgd(steps=8, step=0.06, start="clean")])


@pytest.mark.parametrize(
    "attacks",
    [[pgd(steps=40)], [fgsm(), pgd(steps=8, step=0.06, start="clean")], [fmn(steps=50)], [fgsm()]],
    ids=["finished", "one step went further", "no climb", "one step"],
)
def test_a_climb_that_was_finished_or_outdone_is_not(names: Names, honest: nn.Module, attacks: list[Any]) -> None:
    assert "loss-still-rising" not in names(honest, 0.12, attacks=attacks)


def trap(x: Tensor) -> Tensor:
    """The gradient leads uphill near the middle of each blob, and downhill once any feature is far from it."""
    middle = torch.where(x.detach().median(1, keepdim=True).values < 0.5, 0.45, 0.55)
    far = (x.detach() - middle).abs().amax(1, keepdim=True) > 0.15
    return torch.where(far, 2 * x.detach() - x, x)


def test_attacks_that_do_worse_with_more_room_are_doubted(names: Names, wrapped: Any) -> None:
    x = torch.tensor([0.45, 0.55]).repeat(60)[:, None].expand(-1, 12).contiguous()
    data = (x, torch.arange(120) % 2)
    assert "curve-not-monotone" in names(wrapped(before=trap), 0.24, data=data, attacks=[pgd(steps=20, step=0.25)])
    assert "curve-not-monotone" not in names(wrapped(), 0.24, data=data, attacks=[pgd(steps=20, step=0.25)])


class Switch(nn.Module):
    """Just beyond the boundary it errs only when asked without gradients; with them, and further on, it goes by the first feature alone."""

    def forward(self, x: Tensor) -> Tensor:
        z = 8 * (x[:, 1:].mean(1) - 0.5)
        safe = z - z.detach() + 8 * (x[:, 0].detach() - 0.5)
        z = safe if torch.is_grad_enabled() else torch.where(z.abs() < 0.5, z, safe)
        return torch.stack([-z, z], 1)


def test_a_target_that_answers_otherwise_with_gradients_on_is_doubted(names: Names, rows: tuple[Tensor, Tensor], honest: nn.Module) -> None:
    x, y = rows
    x = x.clone()
    x[:, 0] = torch.where(y == 1, 0.95, 0.05)
    slow = [pgd(steps=60, step=0.016, start="clean")]
    assert "silent-success" in names(Switch(), 0.3, data=(x, y), attacks=slow)
    assert "silent-success" not in names(honest, 0.15, data=(x, y), attacks=slow)


class Refuses(nn.Module):
    """The boundary between the blobs, and a refusal where the two halves of the features come too near; `soft` lets the gradient see it."""

    def __init__(self, *, soft: bool) -> None:
        super().__init__()
        self.soft = soft

    def forward(self, x: Tensor) -> Tensor:
        z = 8 * (x.mean(1) - 0.5)
        seen = x[:, :6].mean(1) - x[:, 6:].mean(1) + 0.72
        refusal = z.abs() + 20 * seen if self.soft else z.abs().detach() + (seen.detach() > 0).float() * 2 - 1
        return torch.stack([-z, z, refusal], 1)


@pytest.mark.parametrize(("soft", "doubted"), [(False, True), (True, False)])
def test_a_refusal_without_gradient_is_doubted(names: Names, soft: bool, doubted: bool) -> None:
    """Pushed up by 0.2, the second half of the features meets the wall, and the refusal stops the row; pushed alone, it would pass."""
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.rand(60, 6, generator=g) * 0.02 + 0.09, torch.rand(60, 6, generator=g) * 0.02 + 0.86], 1)
    target = vauban.Torch(Refuses(soft=soft), outputs="logits", reject=2)
    found = names(target, 0.2, data=(x, torch.zeros(60, dtype=torch.long)), attacks=[pgd(loss="margin", steps=100)])
    assert ("stopped-by-rejection" in found) is doubted


class Strait(nn.Module):
    """The boundary between the blobs with sound gradients, and a refusal around it that every way across must pass: there the margin, which is
    the least of all leads, turns back."""

    def forward(self, x: Tensor) -> Tensor:
        way = x.mean(1) - 0.5
        return torch.stack([-8 * way, 8 * way, 3 - 30 * way.abs()], 1)


@pytest.fixture
def strait() -> vauban.Torch:
    return vauban.Torch(Strait(), outputs="logits", reject=2)


def test_an_unbounded_attack_is_led_past_a_refusal(names: Names, strait: vauban.Torch) -> None:
    assert "unbounded-attack-fails" not in names(strait, 0.05, attacks=[pgd(steps=10, loss="selective")])


def test_longer_climbs_are_led_past_a_refusal(names: Names, strait: vauban.Torch) -> None:
    assert "more-steps-help" in names(strait, 0.3, attacks=[uniform_noise(tries=1)])
    assert "more-steps-help" in names(strait, 0.3, attacks=[pgd(steps=10, step=0.01, loss="selective", start="clean")])


def test_a_refusal_that_stopped_attacks_which_do_not_aim_past_it_is_doubted(names: Names, strait: vauban.Torch) -> None:
    assert "stopped-by-rejection" in names(strait, 0.3, attacks=[pgd(steps=40, step=0.05)])
    assert "stopped-by-rejection" not in names(strait, 0.3, attacks=[pgd(steps=40, step=0.05, loss="selective")])


def test_a_climb_on_the_margin_of_a_target_that_cannot_reject_is_no_other_objective(found: Callable[..., Any], honest: nn.Module) -> None:
    seen: list[Any] = []
    found(honest, 0.05, attacks=[fmn(steps=5)], doubters=[lambda scene: seen.append(probe_of(scene).other_losses)])
    assert seen == [[]], "the climb that stands in for the campaign's raises the margin, as fmn does"


def test_a_trace_tells_what_an_attack_met(found: Callable[..., Any], honest: nn.Module) -> None:
    seen: list[Any] = []

    def look(scene: Any) -> None:
        probe = probe_of(scene)
        seen.append((trace(probe.oracle(probe.threat), pgd(steps=6)), len(probe), probe))

    found(honest, 0.15, doubters=[look])
    met, n, probe = seen[0]
    assert met.margin.shape == met.flat.shape == (7, n)
    asked = (~met.margin.isnan()).sum(0)
    assert bool((asked[~met.broken] == 7).all()), "rows that stand are asked at every step and once at the end"
    assert bool((met.margin.nan_to_num(-1).amax(0) > 0).eq(met.broken).all())
    assert bool((met.best[1:] >= met.best[:-1]).all())
    assert float(met.flat.nansum()) == 0
    assert torch.equal(met.broken, probe.broken(pgd(steps=6))), "taking notes changes nothing"


def test_once_takes_away_what_is_repeated() -> None:
    assert dict(once(pgd(steps=50, restarts=4, loss="dlr"), 20).settings) == {**pgd(steps=20, loss="dlr").settings}
