"""What attacks found on a fixed network last time, row by row. A change is either a fault or worth a sentence in the commit: see regenerate.py."""

from __future__ import annotations

import pytest
from goldens import CASES, Tiny, held, measured, pictures


@pytest.mark.parametrize("name", CASES)
def test_an_attack_finds_what_it_found(name: str) -> None:
    now, then = measured(name), held()[name]
    assert now["distance"] == pytest.approx(then["distance"], abs=1e-4, rel=1e-4)
    assert now["queries"] == then["queries"]


def test_every_golden_is_of_a_case() -> None:
    assert set(held()) == set(CASES)


def test_the_fixture_is_worth_attacking() -> None:
    x, y = pictures()
    z = Tiny()(x)
    assert set(y[:-1].tolist()) == {0, 1, 2}
    assert (z.argmax(1) == y).tolist() == [True] * 5 + [False]
    two = z.detach().topk(2).values
    assert ((two[:, 0] - two[:, 1]) > 0.05).all(), "no row lies on a border, where rounding would decide"
