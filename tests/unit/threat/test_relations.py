"""Relations between features: what may be written, what may not, and that nothing is ever run as code."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vauban.errors import BadPlan
from vauban.geometry.relations import holds, value_of, violation
from vauban.threat import Feature, Features
from vauban.threat.relations import read_relation

NAMES = ("a", "b", "c", "late fees")


def met(text: str, *row: float) -> bool:
    x = torch.tensor([[*row, *[0.0] * (4 - len(row))]], dtype=torch.float64)
    return bool(holds(read_relation(text, NAMES).condition, x, torch.zeros(4, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("text", "row", "truth"),
    [
        ("a <= b", (1, 2), True),
        ("a <= b", (2, 1), False),
        ("a >= b", (2, 1), True),
        ("a < b", (1, 1), False),
        ("a == b / (c + 1)", (2, 6, 2), True),
        ("a == b / c", (0, 6, 0), True),  # division by 0 is 0
        ("1 < a < 3", (2,), True),
        ("1 < a < 3", (3,), False),
        ("a in (36, 60)", (60,), True),
        ("a in (36, 60)", (48,), False),
        ("a != 2 or b <= 1000", (2, 2000), False),
        ("a != 2 or b <= 1000", (3, 2000), True),
        ("not (a == 2 and b > 1000)", (2, 2000), False),
        ("not (a == 2 and b > 1000)", (2, 500), True),
        ("max(a, b, c) - min(a, b) <= abs(-c) ** 2", (1, 3, 2), True),
        ("a % 5 == 2", (12,), True),
        ("log(a) <= 0", (0,), True),
        ("`late fees` <= 100", (0, 0, 0, 99), True),
        ("a ** 0.5 <= 1", (-1,), False),  # has no value, so it does not hold
    ],
)
def test_relations_mean_what_they_say(text: str, row: tuple[float, ...], truth: bool) -> None:
    assert met(text, *row) is truth
    x = torch.tensor([[*row, *[0.0] * (4 - len(row))]])
    assert (float(violation(read_relation(text, NAMES).condition, x)) == 0) is truth, "the hinge agrees with the verdict"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a + b", "is no condition"),
        ("a <=", "cannot be read"),
        ("a <= d", "no feature is named 'd'"),
        ("a <= __import__('os').system('true')", "may not stand in it"),
        ("a <= b.real", "may not stand in it"),
        ("a <= [b][0]", "may not stand in it"),
        ("a <= (lambda: 1)()", "may not stand in it"),
        ("a <= eval(b)", "no function 'eval'"),
        ("a <= sqrt(b)", "no function 'sqrt'"),
        ("a <= True", "may not stand in it"),
        ("a <= 'b'", "may not stand in it"),
        ("a is b", "may not stand in it"),
        ("a if b else c", "is no condition"),
        ("min(a) <= b", "two values or more"),
        ("log(a, b) <= b", "takes one value"),
        ("(" * 5000 + "a", "cannot be read"),
    ],
)
def test_what_is_no_relation_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadPlan, match=why):
        read_relation(text, NAMES)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_terms_are_computed_as_python_computes_them(row: list[float]) -> None:
    a, b, c = row
    x = torch.tensor([[a, b, c, 0.0]], dtype=torch.float64)
    told = value_of(read_relation("a * b - c / 3 + abs(a) - min(b, c) <= 0", NAMES).condition.left, x)
    assert math.isclose(float(told), a * b - c / 3 + abs(a) - min(b, c), rel_tol=1e-12, abs_tol=1e-6)


def test_an_equality_that_holds_before_rounding_to_float32_holds_after() -> None:
    g = torch.Generator().manual_seed(0)
    b, c = torch.rand(2000, generator=g, dtype=torch.float64) * 1e5, torch.rand(2000, generator=g, dtype=torch.float64) * 1e5
    x = torch.stack([b - c, b, c, 0 * b], 1)
    condition, grain = read_relation("a == b - c", NAMES).condition, torch.full((4,), torch.finfo(torch.float32).eps).double()
    assert holds(condition, x.float().double(), grain).all()
    assert not holds(condition, (x + torch.tensor([1.0, 0, 0, 0])).float().double(), grain).any(), "and one that is off by 1 does not"


def test_a_defined_feature_is_recognised_and_so_are_a_few_values() -> None:
    assert read_relation("a == b + c", NAMES).assignments[0][0] == 0
    assert read_relation("b + c == a", NAMES).assignments[0][0] == 0
    assert {place for place, _ in read_relation("a == b", NAMES).assignments} == {0, 1}
    assert read_relation("a == a + b", NAMES).assignments == ()
    assert read_relation("a in (36, 60)", NAMES).choices == (0, (36.0, 60.0))
    assert read_relation("a == 36 or b == 60", NAMES).choices is None


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Feature("a", 1, 0), "the least first"),
        (lambda: Feature("a", scale=0), "must be a positive number"),
        (lambda: Feature("a", kind="category"), "has kind 'category' and a group"),
        (lambda: Feature("a", 0, 2, "category", group="g"), "a one-hot column is 0 or 1"),
        (lambda: Feature("a", kind="reel"), "did you mean 'real'"),  # type: ignore[arg-type]
        (lambda: Features([Feature("a"), Feature("a")]), "two are named 'a'"),
        (lambda: Features([Feature("a", kind="category", group="g"), Feature("b")]), "a single column"),
        (lambda: Features([Feature("a", change="none")]), "none may change"),
        (lambda: Features([Feature("a")], eps=0), "must be positive"),
        (lambda: Features([Feature("a")], 0.5, "l0"), "counts features"),
        (lambda: Features([]), "there are none"),
    ],
)
def test_constraints_that_cannot_be_meant_are_refused(make: object, why: str) -> None:
    with pytest.raises(BadPlan, match=why):
        make()  # type: ignore[operator]
