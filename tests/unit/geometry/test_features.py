"""The rows of a table that may be submitted: what is legal, how far it is, and that repair leads there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vauban.errors import BadData, BadPlan
from vauban.geometry import body_of, space_of
from vauban.geometry.features import Tabular
from vauban.geometry.tables import check_rows
from vauban.threat import INF, Feature, Features

torch.set_num_threads(1)
COLUMNS = (
    Feature("amount", 0, 20_000),
    Feature("paid", 0, 20_000),
    Feature("rest", 0, 20_000),
    Feature("term", 0, 60, "integer"),
    Feature("age", 18, 100, "integer", "up"),
    Feature("region", 0, 9, "integer", "none"),
    Feature("car", kind="category", group="purpose"),
    Feature("home", kind="category", group="purpose"),
    Feature("other", kind="category", group="purpose"),
)
RELATIONS = ("rest == amount - paid", "term in (36, 60)", "paid <= amount")


def rows(n: int = 50) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    amount, share = torch.rand(n, generator=g) * 18_000 + 1000, torch.rand(n, generator=g)
    paid = amount * share
    term = torch.where(torch.rand(n, generator=g) < 0.5, 36.0, 60.0)
    age, region = (torch.rand(n, generator=g) * 60 + 20).round(), torch.randint(10, (n,), generator=g).float()
    purpose = torch.nn.functional.one_hot(torch.randint(3, (n,), generator=g), 3).float()
    return torch.cat([torch.stack([amount, paid, amount - paid, term, age, region], 1), purpose], 1)


def body(norm: str = "l2", eps: float = 0.2, relations: tuple[str, ...] = RELATIONS) -> Tabular:
    found = body_of(Features(COLUMNS, eps, norm, relations), rows())
    assert isinstance(found, Tabular)
    return found


def test_distance_is_the_norm_of_changes_over_scales() -> None:
    x = rows(1)
    y = x.clone()
    y[0, 0] += 2000  # a tenth of the range
    y[0, 3] += 30  # half of it
    d = [float(body(norm, 3 if norm == "l0" else 0.9).distance(x, y)) for norm in ("linf", "l2", "l1", "l0")]
    assert d == pytest.approx([0.5, (0.01 + 0.25) ** 0.5, 0.6, 2], rel=1e-4)


@pytest.mark.parametrize(
    ("change", "legal"),
    [
        ({}, True),
        ({4: 1}, True),
        ({4: -1}, False),  # age only rises
        ({5: 1}, False),  # region is fixed
        ({4: 0.5}, False),  # years are whole
        ({0: 100, 2: 100}, True),
        ({0: 100}, False),  # rest == amount - paid
        ({3: 12}, False),  # 36 or 60
        ({6: 1}, False),  # two purposes
        ({6: "swap"}, True),
        ({0: 1e6}, False),
    ],
)
def test_the_referee_refuses_whatever_breaks_a_constraint(change: dict[int, object], legal: bool) -> None:
    x = rows(1)
    x[0, 6:] = torch.tensor([0.0, 1.0, 0.0])
    x[0, 3], x[0, 5] = 36, 4
    y = x.clone()
    for place, by in change.items():
        if by == "swap":
            y[0, 6:] = torch.tensor([1.0, 0.0, 0.0])
        else:
            y[0, place] += by  # type: ignore[operator]
    assert (float(body().outside(y, x)) == 0) is legal


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@given(seed=st.integers(0, 10_000), size=st.floats(0.001, 3))
@settings(max_examples=25, deadline=None)
def test_repair_of_types_lands_on_legal_rows_inside_the_ball(norm: str, seed: int, size: float) -> None:
    b, x = body(norm, 3 if norm == "l0" else 0.15, ()), rows()
    noise = torch.randn(3, *x.shape, generator=torch.Generator().manual_seed(seed))
    y = b.repair(x, x + size * noise * b.scale, b.limits(x))
    assert (b.outside(y, x) == 0).all()
    assert (b.distance(x, y) <= b.eps * (1 + 1e-6)).all()
    assert torch.equal(b.repair(x, y, b.limits(x))[..., 3:], y[..., 3:]), "what is repaired needs no repair"


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_repair_of_relations_mostly_lands_on_legal_rows(norm: str) -> None:
    b, x = body(norm, 4 if norm == "l0" else 0.2), rows()
    noise = torch.randn(20, *x.shape, generator=torch.Generator().manual_seed(0))
    y = b.repair(x, b.project(x, x + 0.2 * noise * b.scale, b.limits(x)), b.limits(x))
    good = (b.outside(y, x) == 0) & (b.distance(x, y) <= b.eps)
    assert good.double().mean() > 0.9
    assert ((y - x).abs().amax(-1) > 0).double().mean() > 0.7


def test_a_clean_row_is_its_own_repair() -> None:
    b, x = body(), rows()
    assert torch.equal(b.repair(x, x, b.limits(x)), x)
    assert (b.outside(x, x) == 0).all()


def test_whole_numbers_reach_the_end_of_the_radius() -> None:
    """eps = 0.1 of 60 months is 6 months exactly, and rounding must not lose one."""
    columns = [Feature("term", 0, 60, "integer"), Feature("other", 0, 1)]
    for norm in ("linf", "l2", "l1"):
        x = torch.tensor([[30.0, 0.5]])
        b = body_of(Features(columns, 0.1, norm), x)
        assert isinstance(b, Tabular)
        up = b.repair(x, b.project(x, x + torch.tensor([[50.0, 0.0]]), b.limits(x)), b.limits(x))
        assert up[0, 0] in ((36,) if norm == "linf" else (35, 36))
        assert float(b.distance(x, up)) <= 0.1


def test_the_penalty_is_zero_exactly_where_relations_hold_and_its_gradient_leads_there() -> None:
    b, x = body(relations=("paid <= amount", "amount >= 5000")), rows()
    x[:, 0], x[:, 1] = 6000, 3000
    assert float(b.penalty(x)[0].max()) == 0
    bad = x.clone()
    bad[:, 1] = 9000
    value, slope = b.penalty(bad)
    assert (value > 0).all()
    assert (b.penalty(bad - 100 * slope.sign())[0] < value).all()


def test_gradients_reach_a_defined_feature_through_what_it_is_defined_by() -> None:
    b, x = body(), rows(3)
    g = torch.zeros_like(x)
    g[:, 2] = 1.0  # of rest == amount - paid
    pulled = b.pulled(x, g)
    assert torch.equal(pulled[:, :3], torch.tensor([1.0, -1.0, 0.0]).expand(3, 3))


def test_circles_of_definitions_are_cut() -> None:
    columns = [Feature(n, 0, 10) for n in "abc"]
    b = body_of(Features(columns, 1, relations=["a == b + c", "b == a - c", "c == a - b"]), torch.tensor([[5.0, 2.0, 3.0]]))
    assert isinstance(b, Tabular)
    assert len(b.assigned) == 1
    moved = b.assign(torch.tensor([[5.0, 4.0, 3.0]]))
    assert (b.outside(moved, torch.tensor([[5.0, 2.0, 3.0]])) == 0).all()


def test_the_nearest_point_of_a_box_keeps_types() -> None:
    b, x = body(relations=()), rows(1)
    x[0, 6:], x[0, 3], x[0, 4] = torch.tensor([0.0, 1.0, 0.0]), 36, 30
    low, high = torch.full((3, 1, 9), -INF), torch.full((3, 1, 9), INF)
    low[0, 0, 3], high[1, 0, 7], low[2, 0, 4], high[2, 0, 4] = 40.5, 0.5, 30.2, 30.8
    point, possible = b.nearest(x, *(torch.maximum(low, b.within(INF).limits(x)[0]), torch.minimum(high, b.within(INF).limits(x)[1])))
    assert possible[:, 0].tolist() == [True, True, False], "no whole number lies between 30.2 and 30.8"
    assert point[0, 0, 3] == 41
    assert point[1, 0, 6:].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (4, 30.5, "row 7: feature 'age' = 30.5 is not a whole number"),
        (0, 30_000.0, r"row 7: feature 'amount' = 30000 is outside its bounds \[0, 20000\]"),
        (1, 19_999.0, "row 7 breaks the relation 'rest == amount - paid' before any attack"),
        (3, 48.0, "row 7 breaks the relation 'term in"),
        (6, 2.0, "row 7: feature 'car' = 2 is outside"),
    ],
)
def test_a_clean_row_that_breaks_a_constraint_is_named(place: int, value: float, why: str) -> None:
    x = rows()
    x[2, place] = value
    with pytest.raises(BadData, match=why):
        check_rows(Features(COLUMNS, 0.2, relations=RELATIONS), x, torch.arange(5, 55))


def test_a_row_with_two_categories_is_named_and_shapes_are_checked() -> None:
    x = rows()
    x[3, 6:] = 1.0
    with pytest.raises(BadData, match="row 3: 3 columns of the one-hot group 'purpose' are 1"):
        space_of(Features(COLUMNS, 0.2), x)
    with pytest.raises(BadPlan, match="9 are described, and an input has shape"):
        space_of(Features(COLUMNS, 0.2), x[:, :4])
