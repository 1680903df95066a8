"""The table of OARS: its cells, and that the page in the documentation says what was measured last."""

from __future__ import annotations

from pathlib import Path

from benchmarks.oars import HEAD, PAIRS, Siege, besieged, line

from vauban.threat import Ball

ROOT = Path(__file__).parents[3]


def table_in(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    begin = lines.index(f"| {' | '.join(HEAD)} |".replace("|  |", "| |"))
    return lines[begin : begin + 2 + 2 * len(PAIRS)]


def test_the_page_shows_the_table_that_was_measured() -> None:
    newest = max((ROOT / "benchmarks" / "results").glob("*-oars.md"))
    assert table_in(ROOT / "docs" / "ideas" / "ledger.md") == table_in(newest)


def test_a_median_over_rows_that_mostly_stood_is_left_out() -> None:
    assert line("NES", "Linf 0.05", Siege(12, 1, 0.984, float("inf"))) == "| NES | Linf 0.05 | 12 | 1 | 98% | - |"
    assert line("oars-nes", "", Siege(12, 12, 0.13, 85.5)) == "| oars-nes | | 12 | 12 | 13% | 86 |"


def test_without_the_guard_nothing_is_refused_and_with_it_fewer_fall() -> None:
    found = besieged("square", Ball(0.05), images=3, queries=60)
    assert found.free >= found.guarded
    assert found.refused > 0.5
