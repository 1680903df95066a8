"""Promises as JUnit XML: one suite per threat, one case per promise, so that any CI shows which one broke."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as Tree

from vauban.campaign.record import Doubt, Finding, Record, write_atomically
from vauban.campaign.verdict import Judgement, Verdict
from vauban.report.advice import link
from vauban.report.numbers import percent, tidy
from vauban.report.sentences import finding_sentence, promised


def write_junit(record: Record, judged: Sequence[Judgement], path: Path) -> None:
    """Write the judgements of a record as JUnit XML, whole or not at all.

    A breached promise is a failure, an inconclusive one a failure of type "inconclusive" (CI must notice it), one that could not be
    judged an error, a waived one is skipped. A threat without promises is one skipped case. An unfinished run is an error of its own.
    The elements and attributes are those that Ant's and Jenkins's schemas share.
    """
    write_atomically(path, b'<?xml version="1.0" encoding="UTF-8"?>\n' + Tree.tostring(junit(record, judged), encoding="utf-8"))


def junit(record: Record, judged: Sequence[Judgement]) -> Tree.Element:
    """The root element; see `write_junit`."""
    root = Tree.Element("testsuites")
    names = dict.fromkeys([*(f.name for f in record.findings), *(j.threat for j in judged)])
    for place, name in enumerate(names):
        finding = next((f for f in record.findings if f.name == name), None)
        root.append(_suite(record, name, place, finding, [j for j in judged if j.threat == name]))
    if not record.complete or not names:
        root.append(_campaign(record, len(names)))
    Tree.indent(root)
    return root


def _suite(record: Record, name: str, place: int, finding: Finding | None, judged: Sequence[Judgement]) -> Tree.Element:
    suite = _head(record, name, place, finding.seconds if finding else 0.0)
    _properties(suite, _facts(record, finding))
    for judgement in judged:
        _case(suite, name, f"{judgement.metric} at least {promised(judgement.promised)}", judgement)
    if not judged:
        _case(suite, name, "measured", None)
    if finding:
        doubts = (*record.doubts, *finding.doubts)
        words = [finding_sentence(finding, judged, record.data.kind), *map(_doubt, doubts)]
        Tree.SubElement(suite, "system-out").text = "\n".join(map(tidy, words))
    return _counted(suite)


def _campaign(record: Record, place: int) -> Tree.Element:
    suite = _head(record, "campaign", place, record.seconds)
    _properties(suite, _facts(record, None))
    case = Tree.SubElement(suite, "testcase", name="the campaign is finished", classname="vauban", time="0")
    reason = "no threat was tried" if record.complete else "the run is unfinished; run the audit again to resume it"
    Tree.SubElement(case, "error", type="unable", message=reason).text = reason
    return _counted(suite)


def _head(record: Record, name: str, place: int, seconds: float) -> Tree.Element:
    return Tree.Element(
        "testsuite",
        name=tidy(name),
        package="vauban",
        id=str(place),
        hostname="localhost",
        timestamp=_moment(record.started),
        time=f"{seconds:.3f}",
    )


def _case(suite: Tree.Element, threat: str, name: str, judgement: Judgement | None) -> None:
    case = Tree.SubElement(suite, "testcase", name=tidy(name), classname=tidy(f"vauban.{threat}"), time="0")
    if judgement is None:
        Tree.SubElement(case, "skipped", message="nothing was promised about this threat")
        return
    reason = tidy(judgement.reason)
    if judgement.waived:
        Tree.SubElement(case, "skipped", message=tidy(f"{judgement.reason}; waived: {judgement.waived}"))
    elif judgement.verdict is Verdict.UNABLE:
        Tree.SubElement(case, "error", type="unable", message=reason).text = reason
    elif judgement.verdict is not Verdict.HOLDS:
        Tree.SubElement(case, "failure", type=judgement.verdict.name.lower(), message=reason).text = reason


def _properties(suite: Tree.Element, facts: dict[str, str]) -> None:
    properties = Tree.SubElement(suite, "properties")
    for name, value in facts.items():
        if value:
            Tree.SubElement(properties, "property", name=name, value=tidy(value))


def _facts(record: Record, finding: Finding | None) -> dict[str, str]:
    facts = {
        "model": record.target.name,
        "model.sha256": record.target.sha256,
        "data": record.data.name,
        "data.sha256": record.data.sha256,
        "seed": str(record.seed),
        "git": record.git,
    }
    if finding is None:
        return facts
    return facts | {
        "threat": finding.threat.text,
        "clean accuracy": finding.clean.text() if finding.clean.rows else percent(float("nan")),
        "robust accuracy": finding.robust.text() if finding.robust.rows else percent(float("nan")),
        **({} if finding.naive is None else {"naive accuracy": finding.naive.text()}),
        **({} if finding.certified is None else {"certified accuracy": finding.certified.text()}),
        "rows": str(finding.robust.rows),
        "attacks": ", ".join(a.label for a in finding.attacks),
    }


def _doubt(doubt: Doubt) -> str:
    return f"! {doubt.text} ({link(doubt.name)})"


def _counted(suite: Tree.Element) -> Tree.Element:
    """With the totals that the schema wants on a suite."""
    suite.set("tests", str(len(suite.findall("testcase"))))
    for total, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(total, str(len(suite.findall(f"testcase/{tag}"))))
    return suite


def _moment(started: str) -> str:
    """A time stamp as the schema wants it: UTC, to the second, without a zone; the epoch where the record has none."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y-%m-%dT%H:%M:%S")
