"""The laws of the recipe: radius and learning rate over a training, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.defences.training import Recipe
from vauban.defences.training.inner import shrunk
from vauban.errors import BadPlan
from vauban.threat import Ball, Threat, Transformations


@given(ramp=st.floats(0, 1), steps=st.integers(1, 500))
def test_the_radius_grows_to_the_whole_and_stays(ramp: float, steps: int) -> None:
    radii = [Recipe(ramp=ramp).radius(step, steps) for step in range(steps)]
    assert all(0 < r <= 1 for r in radii) and radii == sorted(radii)
    assert radii[-1] == pytest.approx(1)
    full = [r == 1 for r in radii]
    assert sum(full) >= (1 - ramp) * steps - 1


@given(lr=st.floats(1e-5, 10), steps=st.integers(1, 500))
def test_the_one_cycle_rate_is_positive_peaks_at_lr_and_comes_down(lr: float, steps: int) -> None:
    rates = [Recipe(lr=lr).rate(step, steps) for step in range(steps)]
    assert all(0 < rate <= lr * 1.0001 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    if steps >= 20:
        assert max(rates) > 0.9 * lr and rates[-1] < 0.1 * lr


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("inf")}, {"ema": 1.0}, {"ramp": 1.1}, {"clip": -1.0}, {"optimiser": "adma"}],
)
def test_a_setting_out_of_range_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(BadPlan, match=next(iter(wrong))):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_a_shrunk_threat_has_a_share_of_the_radius_in_its_own_units() -> None:
    assert shrunk(Threat("t", Ball(0.4, "l2")), 0.5).perturbation.eps == 0.2
    assert [shrunk(Threat("t", Ball(10, "l0")), s).perturbation.eps for s in (0.01, 0.5, 1)] == [1, 5, 10]
    turned = shrunk(Threat("t", Transformations(30, 0.1)), 0.5).perturbation
    assert isinstance(turned, Transformations) and (turned.rotation, turned.translation) == (15, 0.05)
