"""Findings as SARIF 2.1.0 (OASIS), for code-scanning dashboards: one rule per threat and per kind of doubt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from vauban.campaign.record import Doubt, Finding, Record, write_atomically
from vauban.campaign.verdict import Judgement, Verdict
from vauban.report.advice import advice, link
from vauban.report.numbers import finite, slug
from vauban.report.sentences import finding_sentence, overall, promised
from vauban.version import __version__

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Verdict.BREACHED: "error", Verdict.UNABLE: "error", Verdict.INCONCLUSIVE: "warning"}

Json = dict[str, Any]


def write_sarif(record: Record, judged: Sequence[Judgement], path: Path, campaign: str = "vauban.toml") -> None:
    """Write a record as SARIF, whole or not at all; see `sarif`."""
    write_atomically(path, json.dumps(sarif(record, judged, campaign), indent=1, allow_nan=False, ensure_ascii=False))


def sarif(record: Record, judged: Sequence[Judgement], campaign: str = "vauban.toml") -> Json:
    """A record as a SARIF log.

    A breached promise, or one that could not be judged, is an error; an inconclusive one and every doubt a warning. A promise that is
    kept has kind "pass", a threat about which nothing was promised kind "informational"; the standard (3.27.10) wants level "none" of both.

    Args:
        record: the record.
        judged: its promises, judged.
        campaign: the file that results point to, relative to the repository.
    """
    rules = [*(_threat_rule(f) for f in record.findings), *_missing_rules(record, judged), *_doubt_rules(record)]
    places = {rule["id"]: i for i, rule in enumerate(rules)}
    results = [*_promise_results(record, judged), *_doubt_results(record)]
    for result in results:
        result["ruleIndex"] = places[result["ruleId"]]
        result["locations"] = [
            {"physicalLocation": {"artifactLocation": {"uri": campaign, "uriBaseId": "%SRCROOT%"}, "region": {"startLine": 1}}}
        ]
    driver = {"name": "Vauban", "version": __version__, "semanticVersion": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "invocations": [_invocation(record, judged)], "results": results, "columnKind": "unicodeCodePoints"}
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run | {"properties": _provenance(record)}]}


def _threat_rule(finding: Finding) -> Json:
    atlas = sorted({a.atlas for a in finding.attacks if a.atlas})
    nist = sorted({a.nist for a in finding.attacks if a.nist})
    return {
        "id": _threat_id(finding.name),
        "name": "RobustAccuracy",
        "shortDescription": {"text": f"Robustness under the threat {finding.name}"},
        "fullDescription": {"text": f"{finding.threat.text}. Denominator: {finding.denominator}."},
        "help": {"text": "Robust accuracy is the share of inputs that withstood every attack of this threat. See the audit's report.html."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security", "machine-learning", "evasion"], "atlas": atlas, "nist": nist},
    }


def _missing_rules(record: Record, judged: Sequence[Judgement]) -> list[Json]:
    known = {f.name for f in record.findings}
    names = dict.fromkeys(j.threat for j in judged if j.threat not in known)
    return [
        {"id": _threat_id(n), "name": "RobustAccuracy", "shortDescription": {"text": f"Robustness under the threat {n}"}} for n in names
    ]


def _doubt_rules(record: Record) -> list[Json]:
    names = dict.fromkeys(doubt.name for _, doubt in _all_doubts(record))
    return [
        {
            "id": f"doubt/{name}",
            "name": "Doubt",
            "shortDescription": {"text": f"Doubt: {name.replace('-', ' ')}"},
            "fullDescription": {"text": advice(name)},
            "help": {"text": f"{advice(name)} See {link(name)}."},
            "defaultConfiguration": {"level": "warning"},
        }
        for name in names
    ]


def _promise_results(record: Record, judged: Sequence[Judgement]) -> list[Json]:
    results = [_promise_result(record, j) for j in judged]
    promised_threats = {j.threat for j in judged}
    for finding in record.findings:
        if finding.name not in promised_threats:
            message = finding_sentence(finding, (), record.data.kind)
            results.append(
                _result(_threat_id(finding.name), "informational", "none", message, finding.name) | {"properties": _numbers(finding)}
            )
    return results


def _promise_result(record: Record, judgement: Judgement) -> Json:
    finding = next((f for f in record.findings if f.name == judgement.threat), None)
    sentence = (
        finding_sentence(finding, [judgement], record.data.kind)
        if finding
        else f"{promised(judgement.promised)} {judgement.metric} was promised"
    )
    level = _LEVELS.get(judgement.verdict, "none")
    kind = "pass" if level == "none" else "fail"
    result = _result(
        _threat_id(judgement.threat), kind, level, f"{sentence.rstrip('.')}. {judgement.reason}.", f"{judgement.threat}/{judgement.metric}"
    )
    if judgement.waived:
        result["suppressions"] = [{"kind": "external", "justification": judgement.waived}]
    verdict = {"metric": judgement.metric, "promised": judgement.promised, "verdict": judgement.verdict.name.lower()}
    return result | {"properties": verdict | (_numbers(finding) if finding else {})}


def _doubt_results(record: Record) -> list[Json]:
    return [_result(f"doubt/{d.name}", "fail", "warning", f"{where}{d.text}", f"{where}{d.name}") for where, d in _all_doubts(record)]


def _result(rule: str, kind: str, level: str, message: str, identity: str) -> Json:
    """One result; its fingerprint stays the same from run to run, so that dashboards follow it."""
    fingerprint = {"vauban/v1": sha256(f"{rule}\n{identity}".encode()).hexdigest()}
    return {"ruleId": rule, "kind": kind, "level": level, "message": {"text": message}, "partialFingerprints": fingerprint}


def _numbers(finding: Finding) -> Json:
    low, high = finding.robust.interval
    return {
        "threat": finding.name,
        "cleanAccuracy": finite(finding.clean.value),
        "robustAccuracy": finite(finding.robust.value),
        "interval": [low, high],
        "level": finding.robust.level,
        "withstood": finding.robust.hits,
        "naive": None if finding.naive is None else finding.naive.hits,
        "certified": None if finding.certified is None else finding.certified.hits,
        "rows": finding.robust.rows,
        "eps": finite(finding.threat.radius),
        "attacks": [{"label": a.label, "tried": a.tried, "broken": a.broken, "left": a.left} for a in finding.attacks],
    }


def _all_doubts(record: Record) -> list[tuple[str, Doubt]]:
    return [("", d) for d in record.doubts] + [(f"{f.name}: ", d) for f in record.findings for d in f.doubts]


def _invocation(record: Record, judged: Sequence[Judgement]) -> Json:
    invocation: Json = {"executionSuccessful": record.complete, "exitCode": int(overall(record, judged))}
    if record.command:
        invocation["commandLine"] = record.command
    if started := _utc(record.started):
        invocation["startTimeUtc"] = started
    return invocation


def _provenance(record: Record) -> Json:
    return {
        "model": record.target.name,
        "modelSha256": record.target.sha256,
        "data": record.data.name,
        "dataSha256": record.data.sha256,
        "planSha256": record.plan_sha256,
        "seed": record.seed,
        "git": record.git,
        "versions": record.versions,
    }


def _threat_id(name: str) -> str:
    return f"threat/{slug(name)}"


def _utc(started: str) -> str:
    """A time stamp with a zone as UTC; "" where it has none or is none."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.tzinfo else ""
