"""A campaign against a classifier of texts from its plan to its record, and what is written of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vauban.campaign.behind import BEHIND
from vauban.campaign.cards import DataCard, TargetCard
from vauban.campaign.record import Record, write_atomically
from vauban.campaign.run.besiege import labels_of
from vauban.campaign.run.events import AttackFinished, ChunkFinished, ChunkStarted, Finished, Opened, Progress, SiegeStarted, quiet
from vauban.campaign.run.folder import RunFolder, found_in, new_folder, write_plan
from vauban.campaign.run.identity import git_state, plan_sha256, versions
from vauban.campaign.text.examples import gallery, lines
from vauban.campaign.text.finding import finding
from vauban.campaign.text.plan import TextPlan
from vauban.campaign.text.siege import Fought, besiege
from vauban.campaign.verdict import judgements
from vauban.errors import BadRun
from vauban.report.evidence import write_evidence
from vauban.report.html import write_html
from vauban.report.junit import write_junit
from vauban.report.sarif import write_sarif


def fight(plan: TextPlan, tell: Progress = quiet) -> tuple[Fought, ...]:
    """Every threat of a plan, after the fight."""
    tell(Opened(plan.title, plan.target.name, len(plan.data), tuple(s.threat.name for s in plan.sieges), None, 0, len(plan.sieges)))
    return tuple(_fought(plan, place, tell) for place in range(len(plan.sieges)))


def _fought(plan: TextPlan, place: int, tell: Progress) -> Fought:
    siege = plan.sieges[place]
    name, labels = siege.threat.name, labels_of(siege.attacks)
    tell(SiegeStarted(name, labels, 1, 0))
    tell(ChunkStarted(name, 0, 1, len(plan.data)))
    fought = besiege(plan.facing(siege.threat), plan.data, siege, seed=plan.seed, max_rows=plan.max_rows)
    for at, tried in enumerate(fought.done.chunks[0].tries):
        left = int((fought.done.attacked & ~(fought.done.broken & (fought.done.by <= at))).sum())
        tell(AttackFinished(name, 0, tried.label, at, len(labels), left, tried.seconds))
    robust, seconds = fought.done.robust, fought.done.chunks[0].seconds
    tell(ChunkFinished(name, 0, 1, robust.rows, robust.hits, seconds, None))
    return fought


def record_of(plan: TextPlan, fought: Sequence[Fought], seconds: float, command: str) -> Record:
    """The record of a plan that was carried out."""
    oracle, target, data = fought[0].oracle, plan.target, plan.data
    names = (*data.classes, *(f"class {c}" for c in range(len(data.classes), oracle.referee.classes)))
    told = [
        finding(f, names, plan.promises, ", the model behind a normaliser of look-alikes" if f.siege.threat.name.endswith(BEHIND) else "")
        for f in fought
    ]
    card = TargetCard(
        target.name, target.kind, target.access.name.lower(), target.outputs, names, target.sha256(), target.parameters_count(),
        reject=target.reject,
    )  # fmt: skip
    rows = DataCard(data.name, len(data), (), data.sha256, 0.0, 1.0, "text", data.group_column if data.groups is not None else "")
    return Record(
        plan.title or f"{target.name} on {data.name}", card, rows, tuple(told), plan.promises, seed=plan.seed,
        plan_sha256=plan_sha256(plan.resolved) if plan.resolved else "", command=command,
        started=datetime.now(UTC).isoformat(timespec="milliseconds"), seconds=seconds, versions=versions(),
        git=git_state(plan.source.parent if plan.source else Path()),
    )  # fmt: skip


def publish(record: Record, fought: Sequence[Fought], folder: Path, *, keep_inputs: bool, source: str = "audit_text") -> None:
    """Write the record and what is made of it, each file whole or not at all; the record comes last."""
    judged = judgements(record)
    kept = fought if keep_inputs else ()
    galleries = {f.siege.threat.name: gallery(f, record.target.classes) for f in kept}
    if kept:
        write_atomically(folder / "adversarial.jsonl", "".join(map(lines, kept)))
    write_html(record, folder / "report.html", galleries, judged)
    write_junit(record, judged, folder / "junit.xml")
    write_sarif(record, judged, folder / "findings.sarif", source)
    write_evidence(record, judged, folder / "evidence.json")
    record.write(folder / "record.json")


def audit_texts(
    plan: TextPlan, root: Path, exact: Path | None = None, *, keep_inputs: bool = True, tell: Progress = quiet, command: str = ""
) -> tuple[Record, RunFolder]:
    """Carry out a plan that was read from a file, and write it into a run folder of its own.

    Args:
        root: where run folders are made, <date>-<n>.
        exact: this very folder instead, new or empty.
        keep_inputs: whether texts are written and shown.
        tell: who is told what happens.
        command: what the report tells its reader to run again.

    Raises:
        BadRun: `exact` is not empty; it is left as it is.
        KeyboardInterrupt: nothing is written then.
    """
    _check_empty(exact)
    began = time.perf_counter()
    fought = fight(plan, tell)
    record = record_of(plan, fought, time.perf_counter() - began, command)
    _check_empty(exact)
    path = new_folder(root) if exact is None else exact
    folder = RunFolder(path, record.plan_sha256, record.started)
    write_plan(folder, record.title, "" if plan.source is None else plan.source.name, plan.resolved, plan.resolved)
    publish(record, fought, path, keep_inputs=keep_inputs, source=plan.source.name if plan.source else "vauban.toml")
    tell(Finished(True, record.seconds, path))
    return record, folder


def _check_empty(path: Path | None) -> None:
    if path is None or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    what = "holds a run already" if found_in(path) is not None else "is not empty"
    raise BadRun(f"{path}: {what}; it is left as it is: give another folder")
