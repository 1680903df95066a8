"""The two curves of a finding: robust accuracy against eps, and against the passes spent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import fmn, pgd, uniform_noise
from vauban.errors import BadPlan
from vauban.threat import Ball, Threat

INSIDER = Threat("insider", Ball(0.2))


def line() -> tuple[nn.Module, Tensor, Tensor]:
    """Class 1 beyond 0.5: a row at 0.5 - d falls to changes larger than d."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    x = 0.5 - torch.tensor([[0.05], [0.15], [0.25], [0.35]])
    return vauban.Torch(model, outputs="logits"), x, torch.zeros(4, dtype=torch.long)  # type: ignore[return-value]


def test_at_each_radius_the_curve_counts_the_rows_that_are_farther() -> None:
    record = vauban.audit(*line(), INSIDER, attacks=[fmn(steps=60)], radii=(0.1, "1/5", 0.3, 0.4))
    curve = record["insider"].curve
    assert curve is not None
    assert curve.eps == (0.1, 0.2, 0.3, 0.4)
    assert [r.hits for r in curve.robust] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("radii", "sentence"),
    [
        ((0.1, 0.1), "the radius 0.1 stands twice"),
        ((0.2, 0.1), "0.1 follows 0.2"),
        ((0, 0.1), "positive and ascending"),
        ((0.1, float("inf")), "positive and ascending"),
    ],
)
def test_radii_that_make_no_grid_are_refused(radii: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(BadPlan, match=sentence):
        vauban.audit(*line(), INSIDER, attacks=["fmn"], radii=radii)


def test_radii_without_an_attack_that_measures_distance_are_refused() -> None:
    with pytest.raises(BadPlan, match="needs curve = true and a minimum-norm attack"):
        vauban.audit(*line(), INSIDER, attacks=["pgd"], radii=(0.1,))


def test_against_passes_it_falls_from_the_clean_share_to_the_robust_one() -> None:
    finding = vauban.audit(*line(), INSIDER, attacks=[uniform_noise(tries=3), pgd(steps=20)])["insider"]
    anytime = finding.anytime
    assert anytime is not None
    assert list(anytime.passes) == sorted(set(anytime.passes))
    hits = [r.hits for r in anytime.robust]
    assert hits == sorted(hits, reverse=True)
    assert hits[-1] == finding.robust.hits == 2
    assert anytime.passes[-1] <= 3 + 2 * 21, "three questions without a gradient, and twenty with one, and the last point"


def test_a_row_that_errs_by_itself_falls_at_no_cost() -> None:
    model, x, _ = line()
    finding = vauban.audit(model, x, torch.tensor([1, 0, 0, 0]), INSIDER, attacks=[pgd(steps=20)])["insider"]
    assert finding.anytime is not None
    assert finding.anytime.passes[0] == 0
    assert finding.anytime.robust[0].hits == 3
