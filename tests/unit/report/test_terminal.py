"""The terminal tables: they fit, degrade to plain text, and say what the record says."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from vauban.campaign.record import Doubt, Record
from vauban.campaign.verdict import Verdict, judgements
from vauban.report.terminal import plain_text, print_record


def coloured(record: Record, width: int = 80) -> str:
    out = io.StringIO()
    print_record(record, Console(file=out, width=width, force_terminal=True, color_system="standard"))
    return out.getvalue()


def test_plain_text_fits_eighty_columns_and_is_bare_ascii(records: dict[str, Record]):
    for name, record in records.items():
        text = plain_text(record)
        assert max(map(len, text.splitlines())) <= 80, name
        assert text.isascii(), name
        assert "\x1b" not in text


def test_colour_output_fits_eighty_columns_too(records: dict[str, Record]):
    for record in records.values():
        bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured(record))
        assert max(map(len, bare.splitlines())) <= 80


def test_every_number_of_an_attack_stands_on_its_line(record: Record):
    lines = plain_text(record).splitlines()
    for finding in record.findings:
        for a in finding.attacks:
            (line,) = [line for line in lines if line.startswith(f" {a.label} ")]
            assert line.split()[1:4] == [str(a.tried), str(a.broken), str(a.left)]


def test_every_threat_shows_rates_rows_promise_and_verdict(record: Record):
    line = next(line for line in plain_text(record).splitlines() if line.startswith(" insider"))
    assert line.split() == ["insider", "93.0%", "54.0%", "400", "robust", "45%", "inconclusive"]


def test_the_verdict_is_a_word_and_not_only_a_colour(record: Record):
    for verdict in ("breached", "inconclusive"):
        assert verdict in plain_text(record)
    assert plain_text(record).splitlines()[-1].startswith("BREACHED")


def test_every_doubt_begins_a_line_and_names_its_page(record: Record):
    text = plain_text(record)
    marked = [line for line in text.splitlines() if line.startswith("! ")]
    assert len(marked) == 2
    for doubt in (*record.doubts, *(d for f in record.findings for d in f.doubts)):
        assert f"{doubt.name}: vauban list doubts" in " ".join(text.split())


def test_markup_and_escape_codes_in_names_are_shown_and_not_obeyed(record: Record):
    evil = replace(record, title="[red]x[/red]\x1b[31m\r", doubts=(Doubt("d", "line\nbreak\x1b]0;owned\x07"),))
    text = plain_text(evil)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x1b]" not in coloured(evil)


def test_a_promise_without_a_finding_is_shown_as_unable(empty_rows: Record):
    line = next(line for line in plain_text(empty_rows).splitlines() if line.startswith(" missing"))
    assert line.split()[-1] == "unable"


def test_waivers_are_shown_and_given_judgements_are_used(record: Record):
    waived = [replace(j, waived="until June") for j in judgements(record) if j.verdict is Verdict.BREACHED]
    text = plain_text(record, waived)
    assert "(waived)" in text
    assert "BREACHED" not in text


@pytest.mark.parametrize("width", [40, 60, 120])
def test_other_widths_are_kept_too(record: Record, width: int):
    assert max(map(len, plain_text(record, width=width).splitlines())) <= width
