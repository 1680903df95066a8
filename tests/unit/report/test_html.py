"""The page: self-contained, balanced, escaped, and every number on it is the record's."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vauban.campaign.record import Group, Record
from vauban.campaign.verdict import judgements
from vauban.measure.rate import Rate
from vauban.report.gallery import Gallery
from vauban.report.html import html, write_html
from vauban.report.numbers import percent
from vauban.report.page import heat, page, weakest
from vauban.report.sentences import finding_sentence, record_sentence

VOID = {"meta", "img", "wbr", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Reads a page: whether its tags balance, its addresses and ids, and the text of its table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"a script in {name}"
            if name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open) and self.tables:
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture
def galleries(gallery_arrays) -> dict[str, Gallery]:
    return {"insider": Gallery(**gallery_arrays()), "outsider & co": Gallery(**gallery_arrays(2, (30,)))}


def test_tags_balance_and_ids_are_unique_for_every_kind_of_record(records, galleries):
    for record in records.values():
        ids = Reader(html(record, galleries)).ids
        assert len(ids) == len(set(ids))


def test_nothing_is_fetched_and_nothing_runs(record, galleries):
    text = html(record, galleries)
    reader = Reader(text)
    assert not reader.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    for address in reader.addresses:
        assert address.startswith(("#", "data:image/png;base64,", "https://arxiv.org/abs/")), address


def test_every_inner_link_leads_somewhere(record, galleries):
    reader = Reader(html(record, galleries))
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)


def test_names_from_the_record_are_escaped(record, galleries):
    text = html(record, galleries)
    assert "spoof <print>" not in text
    assert "mask' --> </table>" not in text
    assert "spoof <print>" in Reader(text).text
    assert "Liveness <check> & co" in Reader(text).text


def test_the_verdict_and_every_sentence_stand_on_the_page(records):
    for record in records.values():
        judged, text = judgements(record), Reader(html(record)).text
        assert record_sentence(record, judged) in text
        for finding in record.findings:
            assert finding_sentence(finding, judged, record.data.kind) in text
        for judgement in judged:
            assert judgement.reason in text


def test_the_attack_table_holds_the_record_s_numbers(record):
    tables = [t for t in Reader(html(record)).tables if t[0][0] == "attack"]
    assert len(tables) == len(record.findings)
    for table, finding in zip(tables, record.findings, strict=True):
        for row, a in zip(table[1:], finding.attacks, strict=True):
            assert row[0].startswith(a.label)
            assert row[1:5] == [str(a.broken), str(a.tried), percent(a.broken / a.tried), str(a.left)]
            assert row[8] == f"{a.seconds:.1f}"


def test_rates_intervals_groups_and_confusion_are_the_record_s(record):
    reader = Reader(html(record))
    finding = record.findings[0]
    low, high = finding.robust.interval
    assert f"{finding.robust.value:.1%} 95% interval {100 * low:.1f}–{100 * high:.1f}" in reader.text
    classes, heat_table, groups = (next(t for t in reader.tables if t[0][0] == head) for head in ("class", "true \\ answered", "camera"))
    assert [row[:4] for row in classes[1:]] == [
        [g.name, str(g.robust.rows), percent(g.clean.value), percent(g.robust.value)] for g in finding.classes
    ]
    assert [row[3] for row in groups[1:]] == ["65.0%", "43.0%", "-"]
    assert [[int(c) for c in row[1:]] for row in heat_table[1:]] == [list(line) for line in finding.confusion]
    assert "140 of 156 adversarial examples" in reader.text


def test_bars_are_drawn_where_the_numbers_are(record):
    text = html(record)
    finding = record.findings[0]
    low, high = (100 * v for v in finding.robust.interval)
    assert f'style="width:{100 * finding.robust.value:.2f}%"' in text
    assert f'style="left:{low:.2f}%;width:{high - low:.2f}%"' in text
    assert 'style="left:45.00%"' in text


def test_attack_facts_doubts_and_provenance_are_told(record):
    text = Reader(html(record)).text
    for a in record.findings[0].attacks:
        assert all(fact in text for fact in (a.summary, a.paper, a.atlas, a.nist))
    for doubt in (*record.doubts, *record.findings[0].doubts):
        assert doubt.text[1:] in text
        assert f"{doubt.name}: vauban list doubts" in text
    assert "steps = 40, step = 0.1" in text
    for fact in (
        record.command,
        record.git,
        record.plan_sha256,
        record.target.sha256,
        record.data.sha256,
        "torch 2.13.0",
        "1 March 2026, 10:00 UTC",
    ):
        assert fact in text


def test_galleries_are_pictures_or_features(record, galleries):
    reader = Reader(html(record, galleries))
    assert sum(a.startswith("data:") for a in reader.addresses) == 4 * 3
    assert sum(t[0][0] == "feature" for t in reader.tables) == 2
    assert not any(a.startswith("data:") for a in Reader(html(record)).addresses)


def test_it_prints_darkens_and_fits_a_phone(record):
    text = html(record)
    for rule in ("@media print", "prefers-color-scheme: dark", "max-width: 44rem", 'name="viewport"', "break-before: page"):
        assert rule in text


def test_many_classes_are_listed_and_not_drawn(record):
    many = tuple(tuple(50 if i == j else (i + j) % 3 for j in range(40)) for i in range(40))
    names = tuple(f"class<{i}>" for i in range(40))
    groups = tuple(Group(n, Rate(50, 60), Rate(i, 60)) for i, n in enumerate(names))
    finding = replace(record.findings[0], confusion=many, classes=groups)
    reader = Reader(html(replace(record, findings=(finding,), target=replace(record.target, classes=names))))
    assert not any(t[0][0].startswith("true \\") for t in reader.tables)
    (pairs,) = [t for t in reader.tables if t[0] == ["true", "answered", "rows"]]
    assert all(row[2] == "2" for row in pairs[1:])
    assert [row[0] for row in next(t for t in reader.tables if t[0][0] == "class")[1:]] == list(names[:24])


def test_the_weakest_groups_are_kept_and_few_stay_in_order():
    groups = [Group(str(i), Rate(1, 1), Rate(i, 100)) for i in (5, 3, 9, 1)]
    assert [g.name for g in weakest(groups, 2)] == ["1", "3"]
    assert [g.name for g in weakest(groups, 4)] == ["5", "3", "9", "1"]


def test_heat_shares_are_of_the_true_class():
    found = heat([[3, 1], [0, 5], [0, 0]], ("a",))
    assert found is not None
    assert found.names == ("a", "class 1", "class 2")
    assert [[c.share for c in line] for line in found.cells] == [[0.75, 0.25], [0.0, 1.0], [0.0, 0.0]]
    assert heat([], ()) is None
    assert heat([[0, 0], [0, 0]], ("a", "b")) is None


def test_a_page_without_promises_judges_nothing(unpromised: Record):
    view = page(unpromised, (), {})
    assert {view.badge.word, *(s.badge.word for s in view.sections)} == {"measured"}


def test_the_file_is_written_whole(record, tmp_path: Path):
    write_html(record, tmp_path / "run" / "report.html")
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == html(record)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["report.html"]
