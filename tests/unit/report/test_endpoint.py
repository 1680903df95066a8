"""The bill of an endpoint in a record: read back as written, shown in the terminal and on the page, and in words that are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vauban.campaign.bill import EndpointBill
from vauban.campaign.record import Record
from vauban.report.endpoint import billed, size
from vauban.report.html import html
from vauban.report.terminal import plain_text

BILL = EndpointBill(
    "a.example/read",
    "Ours <b>; ticket 7.",
    ("a.example", "b.example"),
    100,
    104,
    200,
    190,
    8,
    2,
    1,
    2_000_000,
    5_000,
    61.0,
    120.0,
    0.5,
    "EUR",
    8,
)


@pytest.fixture
def billed_record(record: Record) -> Record:
    return replace(record, endpoints=(BILL,))


def test_the_words_are_those_of_the_numbers() -> None:
    text = billed(BILL)
    assert text.startswith(
        "a.example/read got 100 requests, 4 of them sent again, 1 lost on the way. 190 questions were answered, 8 refused, 2 failed."
    )
    assert "2.0 MB were sent and 5.0 kB received, in 1 min 1 s, for 0.50 EUR." in text
    assert text.endswith('Allowed: "Ours <b>; ticket 7.", for a.example, b.example.')


def test_what_did_not_happen_is_not_told() -> None:
    text = billed(replace(BILL, attempts=100, lost=0, money=0.0, repeated=0))
    assert not any(word in text for word in ("sent again", "lost", "EUR", "repeated"))


def test_an_endpoint_that_moves_is_told() -> None:
    assert "Of 8 repeated questions 25% got another class, and 50% another answer" in billed(replace(BILL, flips=0.25, moved=0.5))


def test_sizes_have_their_unit() -> None:
    assert [size(n) for n in (0, 999, 1000, 999_949, 3_400_000_000)] == ["0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "3.4 GB"]


def test_it_is_read_back_as_written(billed_record: Record, tmp_path: Path) -> None:
    billed_record.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json") == billed_record


def test_a_record_without_endpoints_is_read_as_one(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record.write(path)
    path.write_text(path.read_text().replace('"endpoints": [],', ""))
    assert Record.read(path) == record


def test_the_terminal_and_the_page_show_it(billed_record: Record, record: Record) -> None:
    assert "a.example/read got 100 requests" in plain_text(billed_record)
    page = html(billed_record)
    assert "a.example/read got 100 requests" in page
    assert "Ours &lt;b&gt;; ticket 7." in page
    assert "requests" not in plain_text(record)
    assert "<dt>Endpoint</dt>" not in html(record)
