"""Threats: exact numbers, and one clear sentence for what makes no sense."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.errors import BadPlan
from vauban.threat import INF, Access, Ball, Goal, Patch, Threat, Transformations, exact, norm_of, written


@given(st.integers(-1000, 1000), st.integers(1, 1000))
def test_a_fraction_is_read_to_the_nearest_double(a: int, b: int) -> None:
    assert exact(f"{a}/{b}") == a / b == exact(Fraction(a, b))


@given(st.floats(allow_nan=False))
def test_a_number_is_itself(value: float) -> None:
    assert exact(value) == value


@given(st.integers(1, 254))
def test_pixels_are_written_as_they_were_meant(pixels: int) -> None:
    assert exact(written(pixels / 255)) == pytest.approx(pixels / 255, rel=1e-5)
    if pixels % 51:
        assert written(pixels / 255) == f"{pixels}/255"
        assert Ball(written(pixels / 255)).eps == pixels / 255


@pytest.mark.parametrize("bad", ["8/0", "a", "", "1/2/3", None, [], True, math.nan, "nan"])
def test_what_is_no_number_is_refused(bad: object) -> None:
    with pytest.raises((BadPlan, TypeError)):
        exact(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Ball(0), "eps = 0 must be positive"),
        (lambda: Ball(-1, "l2"), "eps = -1 must be positive"),
        (lambda: Ball(8), 'eps = 8 is larger than the input range [0, 1]; did you mean "8/255"?'),
        (lambda: Ball(300), "eps = 300 is larger than the input range [0, 1]"),
        (lambda: Ball(0.1, "l3"), "norm = 'l3' is not a norm; did you mean"),
        (lambda: Ball(0.1, 3), "norm = 3 is not a norm; it is one of inf, 2, 1, 0"),
        (lambda: Ball(0.1, lo=1, hi=0), "the box [1, 0] is empty"),
        (lambda: Ball(0.1, lo=[0, 0], hi=[1, 1, 1]), "lo has 2 values and hi has 3"),
        (lambda: Ball(0.5, "l0"), "an L0 radius counts features and must be at least 1"),
        (lambda: Ball(0.5, mask=[False, False]), "mask: no feature may change"),
        (lambda: Goal(sources=(1,)), "needs a wanted class"),
        (lambda: Goal(wanted=1, sources=(0, 1)), "class 1 is both wanted and a source"),
        (lambda: Access.parse("gradeint"), "did you mean 'gradient'?"),
        (lambda: Threat(" ", Ball(0.1)), "a threat needs a name"),
        (lambda: Threat("t", Ball(0.1), queries=-1), "queries = -1 must be a whole number"),
        (lambda: Threat("t", Ball(0.1), gradients=1.5), "gradients = 1.5 must be a whole number"),
        (lambda: Threat("t", Ball(0.1), seconds=0), "seconds = 0 must be positive"),
        (lambda: Transformations(200), "rotation = 200 degrees must lie in [0, 180]"),
        (lambda: Transformations(0, 1), "translation = 1 must lie in [0, 1)"),
        (lambda: Transformations(10, lo=1, hi=1), "is empty"),
        (lambda: Threat("t", Transformations()).ball, "allows transformations, not an Lp ball"),
        (lambda: Threat("t", Patch(3)).ball, "allows patch, not an Lp ball"),
        (lambda: Ball(0.5, "l0", pixels=True), "eps = 0.5 changes no pixel: an L0 radius counts pixels and must be at least 1"),
        (lambda: Ball(2, "l1", pixels=True), 'pixels are counted in L0, and the norm is l1; say norm = "l0", or leave pixels out'),
        (lambda: Patch(0), "patch = 0 must be the side of a square in pixels, a whole number of 1 or more, or [height, width]"),
        (lambda: Patch(2.5), "patch = 2.5 must be the side of a square"),
        (lambda: Patch(True), "patch = True must be the side of a square"),
        (lambda: Patch("3"), "patch = '3' must be the side of a square"),
        (lambda: Patch((1, 2, 3)), "patch = (1, 2, 3) must be the side of a square"),
        (lambda: Patch((3, 0)), "patch = (3, 0) must be the side of a square"),
        (lambda: Patch(3, lo=1, hi=0), "the box [1, 0] is empty"),
        (lambda: Patch(3, lo=[0, 0], hi=[1, 1, 1]), "lo has 2 values and hi has 3"),
        (lambda: Patch(3, mask=[False, False]), "mask: no feature may change"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(make: object, sentence: str) -> None:
    with pytest.raises(BadPlan) as error:
        make()  # type: ignore[operator]
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_bounds_and_masks_may_be_arrays_of_any_shape() -> None:
    ball = Ball("1/2", "l2", lo=np.zeros((2, 3)), hi=np.arange(1, 7).reshape(2, 3), mask=np.eye(2, 3) > 0)
    assert ball.lo == (0.0,) * 6
    assert ball.hi == (1, 2, 3, 4, 5, 6)
    assert ball.mask == (True, False, False, False, True, False)
    assert Ball(0.1, lo=[0.0]).lo == 0.0
    assert hash(ball) == hash(Ball(0.5, 2, lo=[0] * 6, hi=range(1, 7), mask=[1, 0, 0, 0, 1, 0]))


def test_levels_of_access_are_ordered() -> None:
    assert Access.NONE < Access.LABEL < Access.SCORE < Access.GRADIENT
    assert Access.parse("Label") is Access.LABEL
    assert Access.parse(Access.SCORE) is Access.SCORE


def test_threats_read_as_sentences() -> None:
    t = Threat("t", Ball("8/255"), Access.SCORE, Goal.directional([0, 2], 1), queries=100)
    assert t.text() == "score access, Linf within 8/255, class 0 or class 2 to class 1, 100 queries a row"
    assert Goal.directional(0, 1).text(["spoof", "live"]) == "spoof to live"
    assert Goal(wanted=(1, 0)).text() == "any class to a class given for each input"
    assert Ball(INF, "l2").text() == "L2 at any size"
    assert Ball(3, "l0").kind == "l0"
    assert (Ball(3, "l0", pixels=True).kind, Ball(INF, "l0", pixels=True).text()) == ("pixels", "L0 at any size, in pixels")
    assert Threat("t", Patch((3, 5)), Access.SCORE).text() == "score access, patch of 3 x 5 pixels anywhere, any wrong class"
    assert (Patch((3, 5)).eps, Patch(np.int64(4)), hash(Patch([2, 2]))) == (5.0, Patch((4, 4)), hash(Patch(2)))
    assert norm_of("LINF") == INF
