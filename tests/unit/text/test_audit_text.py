"""An audit of texts ends in the same record, report and verdict as any other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vauban
from vauban import Access, Edits, Goal, Record, TextFunction, Threat, audit_text
from vauban.campaign.verdict import Verdict, judgements
from vauban.errors import BadPlan
from vauban.report.terminal import plain_text

TEXTS = [f"{name}, your cash {thing} is ready" for name in ("Anna", "Bruno") for thing in ("prize", "bonus", "reward")] + [
    "see you at noon"
] * 2
LABELS = [1] * 6 + [0] * 2
GHOST = Threat("ghost", Edits(2, ["homoglyph", "invisible"]), Access.SCORE, Goal.directional(1, 0), queries=200)


def spam(texts: list[str]) -> list[list[float]]:
    return [[1.0, 2.0 * ("cash" in t)] for t in texts]


def filter_() -> TextFunction:
    return TextFunction(spam, outputs="logits")


def test_look_alikes_break_the_filter_and_the_normaliser_mends_it(tmp_path: Path) -> None:
    record = audit_text(
        filter_(), TEXTS, LABELS, GHOST, classes=["ham", "spam"], folder=tmp_path, promises={"ghost": 0.5, "ghost, normalised": 0.5}
    )
    plain, behind = record["ghost"], record["ghost, normalised"]
    assert (plain.robust.hits, plain.robust.rows) == (0, 6)
    assert (behind.robust.hits, behind.robust.rows) == (6, 6)
    assert plain.validity is not None and behind.validity is None
    assert plain.validity.alike.hits == 6 and plain.validity.normalised.hits == 0
    assert set(plain.validity.families) <= {"homoglyph", "invisible"}
    assert plain.validity.edits <= 2 and plain.validity.unchanged > 0.9
    assert plain.ledger is not None and plain.ledger.asked == sum(plain.ledger.kinds.values())
    assert plain.confusion == ((0, 0), (6, 0))
    assert [r.hits for r in plain.curve.robust][-1] == 0 and plain.curve.robust[0].hits == 6  # type: ignore[union-attr]
    verdicts = {j.threat: j.verdict for j in judgements(record)}
    assert verdicts["ghost"] is Verdict.BREACHED and verdicts["ghost, normalised"] is not Verdict.BREACHED
    assert Record.read(tmp_path) == record


def test_the_report_marks_edits_and_shows_no_hidden_character(tmp_path: Path) -> None:
    audit_text(filter_(), TEXTS, LABELS, GHOST, folder=tmp_path, attacks=["bad-chars"], normalised=False)
    page = (tmp_path / "report.html").read_text()
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060\ufeff\b]", page), "nothing hidden reaches the page"
    assert '<ins title="' in page and "What the texts are worth" in page
    lines = [json.loads(line) for line in (tmp_path / "adversarial.jsonl").read_text().splitlines()]
    assert lines and all(spam([line["adversarial"]])[0][1] == 0 for line in lines)
    assert {p.name for p in tmp_path.iterdir()} >= {"record.json", "report.html", "junit.xml", "findings.sarif", "evidence.json"}


def test_a_private_audit_keeps_no_text(tmp_path: Path) -> None:
    audit_text(filter_(), TEXTS, LABELS, GHOST, folder=tmp_path, attacks=["bad-chars"], keep_inputs=False)
    assert not any("Bruno" in p.read_text() for p in tmp_path.iterdir())


def test_the_terminal_tells_it_in_words() -> None:
    record = audit_text(filter_(), TEXTS, LABELS, GHOST, attacks=["bad-chars"], normalised=False)
    text = " ".join(plain_text(record).split())
    assert "may edit each text at most 2 times" in text
    assert "look the same" in text


def test_the_same_call_gives_the_same_record_and_batches_change_nothing() -> None:
    def core(**options: object) -> list[object]:
        record = audit_text(filter_(), TEXTS, LABELS, GHOST, **options)  # type: ignore[arg-type]
        return [(f.held, f.ledger, f.validity, f.confusion) for f in record]

    assert core() == core() == core(max_rows=1)
    assert core(seed=1) != core()


def test_groups_and_clean_errors_are_counted() -> None:
    threat = Threat("t", Edits(1), Access.LABEL)
    record = audit_text(filter_(), TEXTS, [0, *LABELS[1:]], threat, groups=["x"] * 4 + ["y"] * 4, normalised=False)
    finding = record["t"]
    assert finding.clean.hits == 7 and finding.robust.rows == 8
    assert {g.name: g.robust.rows for g in finding.groups} == {"x": 4, "y": 4}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attacks": ["pgdd"]}, "no text attack is named 'pgdd'"),
        ({"attacks": ["pruthi"]}, "allows none of them"),
        ({"attacks": ["hot-flip"]}, "allows none of them|access"),
        ({"threats": ()}, "no threat"),
        ({"threats": Threat("l", vauban.Ball(0.1), Access.SCORE)}, "allows linf"),
        ({"threats": [GHOST, GHOST]}, "two threats are named 'ghost'"),
        ({"promises": {"goast": 0.5}}, "did you mean 'ghost'"),
    ],
)
def test_plans_that_cannot_be_carried_out_are_told(options: dict[str, object], says: str) -> None:
    threats = options.pop("threats", Threat("ghost", Edits(1, ["invisible"]), Access.SCORE))
    with pytest.raises((BadPlan, vauban.errors.NotGranted), match=says):
        audit_text(filter_(), TEXTS, LABELS, threats, **options)  # type: ignore[arg-type]


def test_edits_are_refused_where_inputs_are_numbers() -> None:
    import torch

    from vauban.geometry import space_of

    with pytest.raises(BadPlan, match="audit_text"):
        space_of(Edits(1), torch.rand(1, 2))
    with pytest.raises(BadPlan, match="allows edits"):
        vauban.audit(torch.nn.Linear(2, 2), torch.rand(4, 2), [0, 1, 0, 1], Threat("t", Edits(1)), attacks=["pgd"])
