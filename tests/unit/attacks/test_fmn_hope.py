"""FMN with hope: rows far from falling are left early, where only examples within the radius count."""

from __future__ import annotations

import torch
from worlds import Halfspace, rows

from vauban.attacks import ATTACKS
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import INF, Ball, Threat


def fought(hope: float, **options: object) -> Oracle:
    x, y = rows()
    nearest = float(Halfspace().smallest(x, INF)[0])
    o = Oracle(Torch(Halfspace()), x, y, Threat("t", Ball(nearest * 1.05)), **options)  # type: ignore[arg-type]
    ATTACKS["fmn"].bind(steps=50, hope=hope)(o)
    return o


def test_far_rows_are_left_after_a_tenth_of_the_steps_and_near_ones_fall_as_before() -> None:
    """Row i lies i + 1 times as far from the boundary as row 0, within whose reach the radius is."""
    with_hope, without = fought(0.5).outcome, fought(0).outcome
    assert without.broken.tolist() == [True, False, False, False, False]
    assert torch.equal(with_hope.broken, without.broken)
    assert with_hope.gradients[1:].tolist() == [5, 5, 5, 5]
    assert (without.gradients[1:] == 50).all()


def test_a_row_is_never_left_where_its_distance_is_wanted() -> None:
    for options in ({"curve": True}, {"settle": "nearest"}):
        assert (fought(0.5, **options).outcome.gradients == 50).all()
