"""The evidence file: every heading is answered or said not to be assessed, with the record's numbers and no claim of compliance."""

import json
from dataclasses import replace
from pathlib import Path

from vauban.campaign.record import Record
from vauban.campaign.verdict import judgements
from vauban.report.evidence import NOT_ASSESSED, evidence, family, markdown, write_evidence
from vauban.report.headings import HEADINGS


def by_id(record: Record) -> dict[str, dict]:
    return {h["id"]: h for h in evidence(record, judgements(record))["headings"]}


def test_every_heading_is_answered_or_not_assessed(records: dict[str, Record]):
    for record in records.values():
        found = by_id(record)
        assert len(found) == len(HEADINGS)
        for heading in found.values():
            assert (heading["status"] == NOT_ASSESSED) == (not heading["statements"])


def test_an_evasion_audit_speaks_to_evasion_and_not_to_poisoning_or_privacy(record: Record):
    found = by_id(record)
    measured = ("MEASURE 2.7", "Article 15(1)", "Article 15(5), adversarial examples or model evasion", "AML.T0015", "Evasion")
    silent = (
        "MANAGE 4.1",
        "Article 15(5), data poisoning",
        "Article 15(5), model poisoning",
        "Article 15(5), confidentiality attacks",
        "AML.T0020",
    )
    assert all(found[name]["status"] == "measured" for name in measured)
    assert all(found[name]["status"] == NOT_ASSESSED for name in silent)


def test_a_run_without_a_measured_row_speaks_to_no_attack(empty_rows: Record):
    found = by_id(empty_rows)
    assert found["MEASURE 2.7"]["status"] == NOT_ASSESSED
    assert found["Article 15(5), adversarial examples or model evasion"]["status"] == NOT_ASSESSED


def test_findings_of_other_families_go_to_their_own_headings(record: Record):
    base = record.findings[0]
    for words, name in (
        ("Membership inference", "membership"),
        ("Model extraction", "extraction"),
        ("Backdoor poisoning", "model poisoning"),
        ("", "evasion"),
    ):
        other = replace(base, attacks=(replace(base.attacks[0], atlas="", nist=words),))
        assert family(other) == name


def test_the_numbers_are_the_record_s(record: Record):
    said = by_id(record)["Article 15(5), adversarial examples or model evasion"]["statements"]
    assert [(s["threat"], s["numbers"]["hits"], s["numbers"]["rows"]) for s in said] == [
        (f.name, f.robust.hits, f.robust.rows) for f in record.findings
    ]
    for statement, finding in zip(said, record.findings, strict=True):
        assert (statement["numbers"]["low"], statement["numbers"]["high"]) == finding.robust.interval
        assert finding.robust.text() in statement["text"]


def test_noise_rounding_and_groups_are_sorted_where_they_belong(record: Record):
    found = by_id(record)
    assert [s["topic"] for s in found["Article 15(4)"]["statements"]] == ["errors", "rounding"]
    assert [s["numbers"]["hits"] for s in found["MEASURE 2.11"]["statements"]] == [130, 86]


def test_nothing_claims_compliance(records: dict[str, Record]):
    for record in records.values():
        text = markdown(evidence(record, judgements(record))).lower()
        assert "does not state that any requirement is met" in text
        assert not any(word in text for word in ("complian", "conformity", "fulfils", "satisfies", "certif"))


def test_markdown_and_strict_json_are_written_side_by_side(record: Record, tmp_path: Path):
    write_evidence(record, judgements(record), tmp_path / "evidence.json")
    found = json.loads((tmp_path / "evidence.json").read_text(encoding="utf-8"), parse_constant=lambda word: 1 / 0)
    page = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    assert found == evidence(record, judgements(record))
    assert all(f"### {h.id}: {h.title}" in page for h in HEADINGS)
    assert "<check>" not in page.replace("\\<check\\>", "")
