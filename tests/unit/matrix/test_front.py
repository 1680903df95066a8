"""The front of a matrix and the advice it gives, on tables written by hand; and what is written of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.campaign.matrix.front import advice, pareto, significantly
from vauban.campaign.matrix.result import FIELDS, Hit, Line, Matrix, Stand, fell
from vauban.campaign.record import Doubt
from vauban.errors import BadRun
from vauban.measure.rate import Rate
from vauban.report.matrix import cells, columns, heads, page, size

N = 200


def line(label: str, clean: int, robust: int, inference: float = 1.0, **more: object) -> Line:
    held = tuple(i < robust for i in range(N))
    hits = (Hit("pgd", Rate(N - robust, N), Rate(N - robust - 5, N)),)
    stand = Stand("insider", Rate(robust, N), hits=hits, held=held, doubts=more.pop("doubts", ()))  # type: ignore[arg-type]
    return Line(label, clean=Rate(clean, N), stands=(stand,), inference=inference, **more)  # type: ignore[arg-type]


def matrix(*lines: Line) -> Matrix:
    return Matrix("three <walls>", "rows", N, ("insider",), ("pgd", "square"), lines)


BARE = line("undefended", 196, 40)


def test_the_front_holds_what_no_other_line_beats() -> None:
    better, dear, worse, clean = line("better", 196, 120), line("dear", 196, 150, 3.0), line("worse", 190, 100), line("clean", 198, 60)
    assert [x.label for x in pareto([BARE, better, dear, worse, clean])] == ["better", "dear", "clean"]


@given(st.lists(st.tuples(st.integers(0, N), st.integers(0, N), st.floats(1, 50)), min_size=1, max_size=8))
def test_every_line_off_the_front_is_beaten_by_one_on_it(given_lines: list[tuple[int, int, float]]) -> None:
    lines = [line(str(i), c, r, cost) for i, (c, r, cost) in enumerate(given_lines)]
    front = pareto(lines)
    assert front
    for other in lines:
        if other not in front:
            assert any(f.clean.hits >= other.clean.hits and f.worst >= other.worst for f in front)


def test_the_line_to_take_withstands_most_of_those_that_keep_clean_accuracy() -> None:
    cheap, dear = line("cheap", 194, 120), line("dear", 150, 180)
    told = advice(matrix(BARE, cheap, dear))
    assert told.best == "cheap" and set(told.front) == {"undefended", "cheap", "dear"}
    assert "97.0% clean accuracy against 98.0%" in told.text and "60.0% robust accuracy against 20.0%" in told.text
    only = advice(matrix(BARE, dear))
    assert only.best == "dear" and "gives up more than 2%" in only.text


def test_nothing_is_recommended_on_a_difference_that_may_be_chance() -> None:
    lucky = line("lucky", 196, 43)
    assert not significantly(lucky, BARE) and significantly(line("sound", 196, 60), BARE)
    told = advice(matrix(BARE, lucky))
    assert told.best == "" and "No defence of it withstands significantly more than undefended" in told.text


def test_a_defence_that_helps_under_one_threat_and_harms_under_another_is_not_recommended() -> None:
    def two(label: str, first: int, second: int) -> Line:
        stands = [Stand(name, Rate(r, N), held=tuple(i < r for i in range(N))) for name, r in (("a", first), ("b", second))]
        return Line(label, clean=Rate(N, N), stands=tuple(stands))

    assert not significantly(two("mixed", 150, 20), two("bare", 50, 80))
    assert significantly(two("sound", 150, 80), two("bare", 50, 80))


def test_other_denominators_are_compared_by_intervals() -> None:
    few = Line("few", clean=Rate(100, 100), stands=(Stand("insider", Rate(90, 100), held=(True,) * 90 + (False,) * 10),))
    assert significantly(few, BARE)
    near = Line("near", clean=Rate(100, 100), stands=(Stand("insider", Rate(22, 100), held=(True,) * 22 + (False,) * 78),))
    assert not significantly(near, BARE)


def test_doubts_about_the_line_to_take_are_told() -> None:
    told = advice(matrix(BARE, line("odd", 196, 150, doubts=(Doubt("adaptive-weaker-than-oblivious", "x"),))))
    assert told.best == "odd" and "in doubt: adaptive-weaker-than-oblivious" in told.text


def test_lines_that_failed_are_named_and_left_out() -> None:
    broken = Line("broken", failed="no images")
    whole = matrix(BARE, broken)
    assert whole.measured == (BARE,) and advice(whole).front == ("undefended",)
    assert "no images" in page(whole) and "no images" in cells(whole, broken, ())[0]
    assert advice(matrix(broken)).text == "Nothing was measured."


def test_the_csv_has_a_line_for_each_attack_and_one_for_all_of_them() -> None:
    rows = list(csv.DictReader(io.StringIO(matrix(BARE, line("b", 190, 100, training=7.5)).csv())))
    assert [(r["defence"], r["attack"], r["adaptive"]) for r in rows] == [
        ("undefended", "all", "0.8000"), ("undefended", "pgd", "0.8000"), ("b", "all", "0.5000"), ("b", "pgd", "0.5000"),
    ]  # fmt: skip
    assert tuple(rows[0]) == FIELDS and rows[3]["training"] == "7.50" and rows[0]["training"] == ""
    low, high = Rate(100, N).interval
    assert (rows[3]["adaptive_low"], rows[3]["adaptive_high"]) == (f"{low:.4f}", f"{high:.4f}")


def test_a_matrix_reads_back_as_it_was_written(tmp_path: Path) -> None:
    whole = matrix(BARE, line("b", 190, 100, training=7.5), Line("broken", failed="no"))
    whole.write(tmp_path)
    assert Matrix.read(tmp_path) == whole
    (tmp_path / "matrix.json").write_text("{}")
    with pytest.raises(BadRun, match="not a matrix"):
        Matrix.read(tmp_path)
    with pytest.raises(BadRun, match="no matrix can be read"):
        Matrix.read(tmp_path / "gone")


def test_the_page_marks_where_knowing_less_does_better_and_escapes_names() -> None:
    odd = Line("odd", ("x",), Rate(N, N), (Stand("insider", Rate(100, N), hits=(Hit("pgd", Rate(20, N), Rate(60, N)),), held=(True,) * N),))
    text = page(matrix(BARE, odd))
    assert 'class="n hit warn"' in text and "three &lt;walls&gt;" in text and "three <walls>" not in text
    assert 'hit warn"' not in page(matrix(BARE))
    assert columns(matrix(BARE), "insider") == ["pgd"], "an attack that never acted has no column"
    assert len(heads(matrix(BARE))) == len(cells(matrix(BARE), BARE, ()))


def test_shares_and_sizes() -> None:
    assert fell(Rate(30, 100)) == Rate(70, 100)
    assert [size(n) for n in (900, 1500, 3_200_000_000)] == ["900 B", "1.5 kB", "3.2 GB"]
