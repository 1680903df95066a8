"""Rates: what they say, which interval they have, and that a record gives them back."""

import math

import msgspec
import pytest

from vauban.measure import wilson
from vauban.measure.exact import clopper_pearson
from vauban.measure.presentation import Presentation, Species
from vauban.measure.rate import ExactRate, Rate


@pytest.mark.parametrize("kind", [Rate, ExactRate])
def test_of_no_rows_nothing_is_known(kind: type[Rate]) -> None:
    assert math.isnan(kind(0, 0).value)
    assert kind(0, 0).interval == (0, 1)


def test_a_rate_has_wilsons_interval_and_an_exact_one_that_of_clopper_and_pearson() -> None:
    assert Rate(3, 150, 0.9).interval == wilson(3, 150, 0.9)
    assert ExactRate(3, 150, 0.9).interval == clopper_pearson(3, 150, 0.9)
    assert Rate(3, 150).interval != ExactRate(3, 150).interval


def test_a_rate_is_said_in_percent_with_its_interval() -> None:
    assert Rate(830, 1000).text() == "83.0% [80.5, 85.2]"
    assert ExactRate(3, 150).text() == "2.0% [0.4, 5.7]"  # the table of Clopper and Pearson


def test_the_two_kinds_are_not_the_same_value() -> None:
    assert Rate(1, 2) == Rate(1, 2) != ExactRate(1, 2)


def test_error_rates_lie_on_file_as_hits_of_rows_and_come_back_exact() -> None:
    written = b'{"species":[{"name":"print","apcer":{"hits":3,"rows":150,"level":0.95}}],"bpcer":{"hits":1,"rows":4,"level":0.95}}'
    found = msgspec.json.decode(written, type=Presentation)
    assert found == Presentation((Species("print", ExactRate(3, 150)),), ExactRate(1, 4))
    assert msgspec.json.encode(found) == written
