"""The SARIF log: the fields that version 2.1.0 requires, levels that fit the verdicts, and the record's numbers."""

import json
import re
from dataclasses import replace
from pathlib import Path

from vauban.campaign.record import Promise, Record
from vauban.campaign.verdict import Verdict, judgements
from vauban.report.sarif import sarif, write_sarif

LEVELS = {"none", "note", "warning", "error"}
KINDS = {"notApplicable", "pass", "fail", "review", "open", "informational"}


def run_of(record: Record) -> dict:
    return sarif(record, judgements(record))["runs"][0]


def test_every_required_field_is_there_and_well_formed(records: dict[str, Record]):
    for record in records.values():
        log = sarif(record, judgements(record))
        assert log["version"] == "2.1.0"
        assert log["$schema"].endswith("sarif-schema-2.1.0.json")
        (run,) = log["runs"]
        driver = run["tool"]["driver"]
        assert driver["name"] == "Vauban"
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", driver["semanticVersion"])
        ids = [rule["id"] for rule in driver["rules"]]
        assert len(ids) == len(set(ids))
        assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
        for result in run["results"]:
            assert ids[result["ruleIndex"]] == result["ruleId"]
            assert result["level"] in LEVELS
            assert result["kind"] in KINDS
            assert (result["level"] == "none") == (result["kind"] != "fail")
            assert result["message"]["text"].endswith(".") or result["ruleId"].startswith("doubt/")
            assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "vauban.toml"
            assert result["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1
            assert all(isinstance(v, str) for v in result["partialFingerprints"].values())
        (invocation,) = run["invocations"]
        assert invocation["executionSuccessful"] is record.complete
        assert isinstance(invocation["exitCode"], int)


def test_levels_follow_the_verdicts(record: Record):
    record = replace(record, promises=(*record.promises, Promise("outsider & co", clean_accuracy=0.5)))
    found = {(r["properties"]["threat"], r["properties"]["metric"]): r["level"] for r in run_of(record)["results"] if "properties" in r}
    levels = {Verdict.HOLDS: "none", Verdict.BREACHED: "error", Verdict.INCONCLUSIVE: "warning", Verdict.UNABLE: "error"}
    assert found == {(j.threat, j.metric): levels[j.verdict] for j in judgements(record)}


def test_one_rule_for_each_threat_and_each_kind_of_doubt(record: Record):
    rules = run_of(record)["tool"]["driver"]["rules"]
    assert [rule["name"] for rule in rules] == ["RobustAccuracy"] * 3 + ["Doubt"] * 2
    assert {r["ruleId"] for r in run_of(record)["results"] if r["ruleId"].startswith("doubt/")} == {
        "doubt/not-deterministic",
        "doubt/more-steps-help",
    }


def test_a_threat_without_promises_is_informational(unpromised: Record):
    assert {r["kind"] for r in run_of(unpromised)["results"] if r["ruleId"].startswith("threat/")} == {"informational"}


def test_a_promise_without_a_finding_is_an_error_with_a_rule(empty_rows: Record):
    assert [r["level"] for r in run_of(empty_rows)["results"] if r["ruleId"] == "threat/missing"] == ["error"]


def test_a_waiver_is_a_suppression(record: Record):
    results = sarif(record, [replace(j, waived="until June") for j in judgements(record)])["runs"][0]["results"]
    assert all(
        r["suppressions"] == [{"kind": "external", "justification": "until June"}] for r in results if r["ruleId"].startswith("threat/")
    )


def test_the_numbers_are_the_record_s(record: Record):
    for result in run_of(record)["results"]:
        if "properties" in result:
            finding = record[result["properties"]["threat"]]
            assert result["properties"]["robustAccuracy"] == finding.robust.value
            assert result["properties"]["interval"] == list(finding.robust.interval)
            assert result["properties"]["rows"] == finding.robust.rows


def test_fingerprints_stay_when_the_numbers_move(record: Record):
    before = [r["partialFingerprints"] for r in run_of(record)["results"]]
    moved = replace(record, seed=8, findings=tuple(replace(f, robust=replace(f.robust, hits=f.robust.hits - 5)) for f in record.findings))
    assert [r["partialFingerprints"] for r in run_of(moved)["results"]] == before
    assert len({str(b) for b in before}) == len(before)


def test_the_file_is_strict_json_and_utc(records: dict[str, Record], tmp_path: Path):
    for record in records.values():
        endless = replace(record, findings=tuple(replace(f, threat=replace(f.threat, eps=float("inf"))) for f in record.findings))
        write_sarif(endless, judgements(endless), tmp_path / "f.sarif")
        text = (tmp_path / "f.sarif").read_text(encoding="utf-8")
        log = json.loads(text, parse_constant=lambda word: (_ for _ in ()).throw(AssertionError(word)))
        assert log["runs"][0]["invocations"][0]["startTimeUtc"] == "2026-03-01T10:00:00Z"
