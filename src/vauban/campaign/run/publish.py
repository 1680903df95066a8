"""What is written of a record for others: the page, JUnit, SARIF and the evidence. The record itself comes last."""

from __future__ import annotations

from vauban.campaign.plan import Plan
from vauban.campaign.record import Record
from vauban.campaign.run.folder import RunFolder
from vauban.campaign.verdict import judgements
from vauban.report.evidence import write_evidence
from vauban.report.gallery import Gallery
from vauban.report.html import write_html
from vauban.report.junit import write_junit
from vauban.report.sarif import write_sarif


def publish(record: Record, folder: RunFolder, plan: Plan) -> None:
    """Write report.html, junit.xml, findings.sarif, evidence.json and .md, and at last record.json, each whole or not at all."""
    judged = judgements(record)
    files = {f.name: folder.gallery(f.name) for f in record.findings}
    galleries = {threat: Gallery.read(file) for threat, file in files.items() if file.is_file()}
    write_html(record, folder.path / "report.html", galleries, judged)
    write_junit(record, judged, folder.path / "junit.xml")
    write_sarif(record, judged, folder.path / "findings.sarif", plan.source.name if plan.source else "vauban.toml")
    write_evidence(record, judged, folder.path / "evidence.json")
    record.write(folder.record)
