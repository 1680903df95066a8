"""The measure of edits against its own definition, by brute force, and the costs of every family by hand."""

from __future__ import annotations

import math
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.doors.text import Ruler
from vauban.threat import Edits

SHORT = st.text("ab ", max_size=7)


def alignment(a: str, b: str, swap: int = 1) -> float:
    """Optimal string alignment as it is defined, every way tried."""

    @lru_cache(None)
    def d(i: int, j: int) -> float:
        if i == 0 or j == 0:
            return i + j
        best = min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (a[i - 1] != b[j - 1]))
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            best = min(best, d(i - 2, j - 2) + swap)
        return best

    return d(len(a), len(b))


@given(SHORT, SHORT)
def test_all_families_together_are_optimal_string_alignment(a: str, b: str) -> None:
    ruler, truth = Ruler(a, Edits(5)), alignment(a, b)
    assert ruler.distance(b) == truth
    for limit in (1, 2, 4):
        assert ruler.distance(b, limit) == (truth if truth <= limit else math.inf)
        assert ruler.within(b, limit) == (truth <= limit)


@given(SHORT, SHORT)
def test_levenshtein_counts_a_swap_as_two(a: str, b: str) -> None:
    assert Ruler(a, Edits(5, metric="levenshtein")).distance(b) == alignment(a, b, swap=2)


@given(SHORT, SHORT)
def test_the_steps_are_a_way_and_cost_the_distance(a: str, b: str) -> None:
    ruler = Ruler(a, Edits(5))
    steps = ruler.steps(b)
    assert "".join(s.clean for s in steps) == a and "".join(s.text for s in steps) == b
    assert sum(s.cost for s in steps) == ruler.distance(b)
    for place, origin in ruler.untouched(b).items():
        assert b[place] == a[origin]


@given(SHORT.filter(bool), SHORT)
def test_fewer_families_never_come_nearer_and_the_quick_look_agrees(a: str, b: str) -> None:
    some = Ruler(a, Edits(3, ["insert", "swap"], pattern="bb"))
    assert some.distance(b) >= alignment(a, b)
    for limit in (1, 2, 3):
        assert some.within(b, limit) == (some.distance(b) <= limit)


@pytest.mark.parametrize(
    ("family", "text", "cost"),
    [
        ("swap", "gold sihp", 1),
        ("delete", "gold shp", 1),
        ("insert", "gold shiip", 1),
        ("substitute", "gold shqp", 1),
        ("keyboard", "gold shop", 1),
        ("homoglyph", "gоld ship", 1),
        ("invisible", "go\u200bld ship", 1),
        ("reorder", "gold s\u202eih\u202cp", 3),
        ("backspace", "gold shx\bip", 2),
    ],
)
def test_each_family_makes_its_own_edit_at_its_own_cost_and_no_other(family: str, text: str, cost: int) -> None:
    ruler = Ruler("gold ship", Edits(5, [family]))
    assert ruler.distance(text) == cost
    assert [s.family for s in ruler.steps(text) if s.cost] == [family]
    for other in {"swap", "delete", "insert", "homoglyph", "invisible"} - {family}:
        assert Ruler("gold ship", Edits(5, [other])).distance(text) == math.inf


@pytest.mark.parametrize(
    "text",
    ["a fre gift", "a f\u200bree gift", "a freе gift", "a rfee gift", "a freegift", "a xfree gift", "afree gift", "a free\u200b gift"],
)
def test_nothing_touches_a_protected_word_or_joins_it_to_another(text: str) -> None:
    assert Ruler("a free gift", Edits(9)).distance(text) < math.inf
    assert Ruler("a free gift", Edits(9, protected=["FREE"])).distance(text) == math.inf


def test_words_beside_a_protected_one_may_change() -> None:
    ruler = Ruler("a free gift", Edits(9, protected=["free"]))
    assert ruler.distance("b free gfit") == 2
    assert Ruler("freedom is free", Edits(9, protected=["free"])).distance("fredom is free") == 1, "only whole words are protected"


def test_a_pattern_protects_what_it_matches() -> None:
    ruler = Ruler("see http://a.bc now", Edits(9, pattern=r"http\S+"))
    assert ruler.distance("see http://a.bd now") == math.inf
    assert ruler.distance("se http://a.bc now") == 1
