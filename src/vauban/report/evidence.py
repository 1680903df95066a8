"""What a record says under the headings of public frameworks, as JSON and Markdown. It states measurements and never compliance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from vauban.campaign.record import Finding, Record, write_atomically
from vauban.campaign.verdict import Judgement
from vauban.measure.rate import Rate
from vauban.report.headings import HEADINGS, Heading
from vauban.report.numbers import finite, tidy
from vauban.report.sentences import WORDS, finding_sentence, promised, record_sentence
from vauban.version import __version__

NOTICE = (
    "This file sorts the measurements of one audit under headings of public frameworks. It is material for whoever assesses the system. "
    "It does not state that any requirement is met, and a heading under which something was measured is not thereby fulfilled."
)
NOT_ASSESSED = "not assessed by this run"

_FAMILIES = {
    "extract": "extraction",
    "membership": "membership",
    "inver": "inversion",
    "reconstruct": "inversion",
    "model poison": "model poisoning",
    "backdoor": "model poisoning",
    "poison": "poisoning",
}
_ERRORS = ("noise", "blur", "contrast", "pepper", "brightness", "jpeg")


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing the record says, with its numbers."""

    topic: str
    text: str
    threat: str = ""
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])


def write_evidence(record: Record, judged: Sequence[Judgement], path: Path) -> None:
    """Write the evidence as JSON at `path` and as Markdown beside it, each whole or not at all."""
    found = evidence(record, judged)
    write_atomically(path, json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False))
    write_atomically(path.with_suffix(".md"), markdown(found))


def evidence(record: Record, judged: Sequence[Judgement]) -> dict[str, Any]:
    """The evidence as plain values: for every heading the statements that speak to it, or that it was not assessed."""
    said = statements(record, judged)
    return {
        "notice": NOTICE,
        "vauban": __version__,
        "title": record.title,
        "summary": record_sentence(record, judged),
        "complete": record.complete,
        "model": {"name": record.target.name, "sha256": record.target.sha256},
        "data": {"name": record.data.name, "rows": record.data.rows, "sha256": record.data.sha256},
        "started": record.started,
        "findings": [{"threat": f.name, "sentence": finding_sentence(f, judged, record.data.kind)} for f in record.findings],
        "headings": [_entry(heading, said) for heading in HEADINGS],
    }


def statements(record: Record, judged: Sequence[Judgement]) -> tuple[Statement, ...]:
    """Everything the record says, by topic."""
    found = [_reproduction(record), *_accuracy(record), *_promises(judged)]
    found += [Statement("doubts", f"{d.text}.") for d in record.doubts]
    for finding in record.findings:
        found += _about(finding)
    return tuple(found)


def family(finding: Finding) -> str:
    """Which family of attacks a finding belongs to, from its attacks' ATLAS and NIST names; evasion unless they say otherwise."""
    words = " ".join(f"{a.atlas} {a.nist}" for a in finding.attacks).lower()
    if "evasion" in words or "evade" in words:
        return "evasion"
    return next((name for sign, name in _FAMILIES.items() if sign in words), "evasion")


def markdown(found: dict[str, Any]) -> str:
    """The evidence as a Markdown page."""
    lines = [f"# Evidence: {_plain(found['title'] or found['model']['name'])}", "", found["notice"], "", _plain(found["summary"]), ""]
    lines += [f"* **{_plain(f['threat'])}**: {_plain(f['sentence'])}" for f in found["findings"]] + [""]
    for framework, headings in groupby(found["headings"], key=lambda h: h["framework"]):
        lines += [f"## {framework}", ""]
        for heading in headings:
            lines += [f"### {heading['id']}: {heading['title']}", ""]
            lines += [f"* {_plain(s['text'])}" for s in heading["statements"]] or [f"*{heading['status'].capitalize()}.*"]
            lines.append("")
    return "\n".join(lines)


def _entry(heading: Heading, said: Sequence[Statement]) -> dict[str, Any]:
    speaking = [asdict(s) for topic in heading.topics for s in said if s.topic == topic]
    status = "measured" if speaking else NOT_ASSESSED
    return {"framework": heading.framework, "id": heading.id, "title": heading.title, "status": status, "statements": speaking}


def _about(finding: Finding) -> list[Statement]:
    name, rows = finding.name, f"{finding.robust.rows:,} inputs ({finding.denominator})"
    said = [
        Statement("threats", f"{name}: {finding.threat.text}.", name),
        *(Statement("doubts", f"{name}: {d.text}.", name) for d in finding.doubts),
        *_errors(finding),
        *_groups(finding),
    ]
    if finding.robust.rows:
        text = f"{name}: {_rate(finding.robust)} of {rows} withstood every attack; {finding.threat.text}."
        said.append(Statement(family(finding), text, name, _numbers(finding.robust)))
    if finding.naive is not None and finding.naive.rows:
        text = (
            f"{name}: {_rate(finding.naive)} of {rows} withstood the attacker that does not know of the defence, which is no measure of it."
        )
        said.append(Statement(family(finding), text, name, _numbers(finding.naive)))
    if finding.certified is not None and finding.certified.rows:
        text = f"{name}: {_rate(finding.certified)} of {rows} are proven robust; {finding.open:,} are neither broken nor proven."
        said.append(Statement(family(finding), text, name, _numbers(finding.certified)))
    if finding.rounding and finding.rounding.rows:
        text = f"{name}: {_rate(finding.rounding)} of {finding.rounding.rows:,} adversarial examples survive rounding to 8 bits."
        said.append(Statement("rounding", text, name, _numbers(finding.rounding)))
    return said


def _accuracy(record: Record) -> list[Statement]:
    """Clean accuracy, once where every threat measured the same."""
    rates = dict.fromkeys(f.clean for f in record.findings)
    return [Statement("accuracy", f"Clean accuracy {_rate(r)} of {r.rows:,} inputs.", "", _numbers(r)) for r in rates]


def _errors(finding: Finding) -> list[Statement]:
    """Attacks that follow no gradient and no answer but disturb the input as errors do."""
    natural = [a for a in finding.attacks if a.tried and any(word in a.name.lower() for word in _ERRORS)]
    return [
        Statement("errors", f"{finding.name}: {a.label} broke {_rate(r)} of {a.tried:,} inputs.", finding.name, _numbers(r))
        for a in natural
        for r in [Rate(a.broken, a.tried)]
    ]


def _groups(finding: Finding) -> list[Statement]:
    return [
        Statement(
            "groups",
            f"{finding.name}, {g.name}: {_rate(g.robust)} of {g.robust.rows:,} inputs withstood.",
            finding.name,
            _numbers(g.robust),
        )
        for g in finding.groups
        if g.robust.rows
    ]


def _promises(judged: Sequence[Judgement]) -> list[Statement]:
    said: list[Statement] = []
    for j in judged:
        waived = f" Waived: {j.waived}" if j.waived else ""
        text = f"{j.threat}: at least {promised(j.promised)} {j.metric} promised; {WORDS[j.verdict]}: {j.reason}.{waived}"
        numbers = {"promised": j.promised, "verdict": WORDS[j.verdict]} | (_numbers(j.rate) if j.rate else {})
        said.append(Statement("promises", text, j.threat, numbers))
    return said


def _reproduction(record: Record) -> Statement:
    data, target = record.data, record.target
    text = f"{data.rows:,} inputs of {data.name} against {target.name}, seed {record.seed}; plan, model and data are named by hash."
    hashes = {"plan_sha256": record.plan_sha256, "model_sha256": target.sha256, "data_sha256": data.sha256}
    return Statement("reproduction", text, "", {**hashes, "versions": record.versions, "git": record.git})


def _numbers(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval
    return {"hits": rate.hits, "rows": rate.rows, "value": finite(rate.value), "low": low, "high": high, "level": rate.level}


def _rate(rate: Rate) -> str:
    return rate.text() if rate.rows else "not measured"


def _plain(text: str) -> str:
    """Words of a record as Markdown that shows them as they are."""
    return "".join(f"\\{c}" if c in "\\`*_<>[]#|" else c for c in tidy(text))
