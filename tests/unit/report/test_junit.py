"""The JUnit file: the shape that Ant's and Jenkins's schemas share, and a case for every promise."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Tree

from vauban.campaign.record import Promise, Record
from vauban.campaign.verdict import Verdict, judgements
from vauban.measure.rate import Rate
from vauban.report.junit import junit, write_junit

SUITE = {"name", "package", "id", "hostname", "timestamp", "time", "tests", "failures", "errors", "skipped"}


def written(record: Record, path: Path) -> Tree.Element:
    write_junit(record, judgements(record), path / "junit.xml")
    return Tree.parse(path / "junit.xml").getroot()


def test_every_suite_has_the_attributes_order_and_totals_of_the_schema(records: dict[str, Record], tmp_path: Path):
    for record in records.values():
        root = written(record, tmp_path)
        assert root.tag == "testsuites"
        assert not root.attrib
        assert len(root)
        for suite in root:
            assert set(suite.attrib) == SUITE
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
            tags = [child.tag for child in suite]
            assert tags == ["properties", *["testcase"] * tags.count("testcase"), *["system-out"] * tags.count("system-out")]
            for total, tag in (
                ("tests", "testcase"),
                ("failures", "testcase/failure"),
                ("errors", "testcase/error"),
                ("skipped", "testcase/skipped"),
            ):
                assert int(suite.get(total)) == len(suite.findall(tag))
            for case in suite.findall("testcase"):
                assert set(case.attrib) == {"name", "classname", "time"}
                assert len(case) <= 1
                assert all(child.get("type") for child in case if child.tag in ("failure", "error"))


def test_one_case_for_each_promise_and_its_fate(record: Record):
    record = replace(record, promises=(*record.promises, Promise("outsider & co", clean_accuracy=0.5)))
    cases = {(c.get("classname"), c.get("name")): c for c in junit(record, judgements(record)).iter("testcase")}
    for j in judgements(record):
        (case,) = [c for (where, name), c in cases.items() if where == f"vauban.{j.threat}" and name.startswith(j.metric)]
        kinds = [(child.tag, child.get("type")) for child in case]
        assert (
            kinds
            == {Verdict.HOLDS: [], Verdict.BREACHED: [("failure", "breached")], Verdict.INCONCLUSIVE: [("failure", "inconclusive")]}[
                j.verdict
            ]
        )
        assert all(child.get("message") == j.reason for child in case)
    assert {j.verdict for j in judgements(record)} == {Verdict.HOLDS, Verdict.BREACHED, Verdict.INCONCLUSIVE}


def test_what_could_not_be_judged_is_an_error(empty_rows: Record):
    assert [e.get("type") for e in junit(empty_rows, judgements(empty_rows)).iter("error")] == ["unable", "unable"]


def test_a_waived_breach_is_skipped_with_its_waiver(record: Record):
    waived = [replace(j, waived="until June") for j in judgements(record)]
    root = junit(record, waived)
    assert not list(root.iter("failure"))
    assert all("waived: until June" in s.get("message") for s in root.iter("skipped"))


def test_an_unfinished_run_fails_by_itself(unfinished: Record):
    kept = replace(unfinished, promises=(Promise("insider", 0.1),), doubts=())
    assert [e.get("type") for e in junit(kept, judgements(kept)).iter("error")] == ["unable"]


def test_nothing_promised_is_skipped_and_passes(unpromised: Record):
    root = junit(unpromised, ())
    assert len(list(root.iter("skipped"))) == 3
    assert not [*root.iter("failure"), *root.iter("error")]


def test_the_numbers_are_the_record_s(record: Record):
    for suite, finding in zip(junit(record, judgements(record)), record.findings, strict=True):
        facts = {p.get("name"): p.get("value") for p in suite.iter("property")}
        assert facts["robust accuracy"] == finding.robust.text()
        assert facts["clean accuracy"] == finding.clean.text()
        assert facts["rows"] == str(finding.robust.rows)


def test_characters_that_xml_forbids_are_left_out(record: Record, tmp_path: Path):
    evil = replace(record, git="\x00\x1b\ufffe bad", started="yesterday")
    assert written(evil, tmp_path)[0].get("timestamp") == "1970-01-01T00:00:00"


def test_an_unmeasured_rate_is_no_number(empty_rows: Record):
    assert empty_rows.findings[0].robust == Rate(0, 0)
    values = [p.get("value") for p in junit(empty_rows, ()).iter("property")]
    assert not any("nan" in value for value in values)
