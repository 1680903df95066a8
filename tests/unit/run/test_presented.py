"""Error rates of each subgroup before and under attack, on a half-space where every count is known by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from vauban.campaign.plan import Plan
from vauban.campaign.record import Record
from vauban.campaign.run import audit_plan
from vauban.data import Rows
from vauban.report.html import html
from vauban.report.presented import lines
from vauban.report.terminal import plain_text
from vauban.target import Torch
from vauban.threat import Goal

Make = Callable[..., Plan]
Data = Callable[..., Rows]
run = partial(audit_plan, doubters=())
CLASSES = ("live", "spoof")
SPOOF_TO_LIVE = Goal.directional(1, 0)

# class 1 (spoof) is answered above 0.5. Prints: one passes at first (0.3), one under attack (0.55), one never (0.9).
# Replays: two that never pass. Live: one of three is rejected.
FEATURES = [0.3, 0.55, 0.9, 0.8, 0.7, 0.2, 0.4, 0.6]
LABELS = [1, 1, 1, 1, 1, 0, 0, 0]
SPECIES = ("print", "print", "print", "replay", "replay", "live", "live", "live")


@pytest.fixture
def faces(rows: Data) -> Rows:
    return replace(rows(FEATURES, LABELS, classes=CLASSES), groups=SPECIES, group_column="species")


@pytest.fixture
def record(plan: Make, faces: Rows) -> Record:
    return run(plan(faces, eps=0.1, goal=SPOOF_TO_LIVE))


def test_what_passed_before_counts_under_attack_too(record: Record) -> None:
    told = record["insider"].presented
    assert told is not None and told.wanted == "live"
    assert [(s.name, s.apcer.hits, s.apcer.rows) for s in told.before.species] == [("print", 1, 3), ("replay", 0, 2)]
    assert [(s.name, s.apcer.hits, s.apcer.rows) for s in told.under.species] == [("print", 2, 3), ("replay", 0, 2)]
    assert told.before.bpcer == told.under.bpcer and (told.under.bpcer.hits, told.under.bpcer.rows) == (1, 3)


def test_robust_accuracy_leaves_out_what_the_error_rates_count(record: Record) -> None:
    """The print that passed untouched is in no denominator of robust accuracy: only APCER shows it."""
    assert (record["insider"].robust.hits, record["insider"].robust.rows) == (3, 4)


@pytest.mark.parametrize("goal", [Goal(), Goal(wanted=0)])
def test_a_goal_without_sources_has_no_error_rates(plan: Make, faces: Rows, goal: Goal) -> None:
    assert run(plan(faces, goal=goal))["insider"].presented is None


def test_data_without_subgroups_have_no_error_rates(plan: Make, rows: Data) -> None:
    assert run(plan(rows(FEATURES, LABELS, classes=CLASSES), goal=SPOOF_TO_LIVE))["insider"].presented is None


def test_data_without_bona_fide_rows_have_no_bpcer(plan: Make, faces: Rows) -> None:
    told = run(plan(faces.take(faces.y == 1), goal=SPOOF_TO_LIVE))["insider"].presented
    assert told is not None and told.before.bpcer.rows == 0
    assert [line.name for line in lines(told)] == ["APCER print", "APCER replay", "APCER worst (print)", "BPCER live"]
    assert lines(told)[-1].before == "-"


class Halting(nn.Module):
    """The half-space, where the score of "live" is no number below 0.35: the largest of such scores is the one that is none."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x[:, 0] - 0.5
        return torch.stack([torch.where(first < -0.15, torch.nan, 0.0), first], 1)


def test_an_answer_that_is_not_finite_lets_nobody_pass(plan: Make, faces: Rows) -> None:
    told = run(plan(faces, target=Torch(Halting(), outputs="logits"), goal=SPOOF_TO_LIVE, eps=0.01))["insider"].presented
    assert told is not None and told.before.species[0].apcer.hits == 0
    assert told.before.bpcer.hits == 2  # the live row that got no finite score was not accepted either


def test_the_record_keeps_them_and_an_old_record_without_them_is_read(record: Record, tmp_path: Path) -> None:
    record.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json")["insider"].presented == record["insider"].presented
    old = replace(record, findings=tuple(replace(f, presented=None) for f in record.findings))
    text = (tmp_path / "record.json").read_text()
    assert '"presented"' in text
    old.write(tmp_path / "old.json")
    (tmp_path / "old.json").write_text((tmp_path / "old.json").read_text().replace(',\n   "presented": null', ""))
    assert '"presented"' not in (tmp_path / "old.json").read_text()
    assert Record.read(tmp_path / "old.json")["insider"].presented is None


def test_every_line_stands_in_the_terminal_and_on_the_page(record: Record) -> None:
    told = record["insider"].presented
    assert told is not None
    shown, page = plain_text(record), html(record)
    assert "taken for live" in shown and "Taken for live" in page
    for line in lines(told):
        (found,) = [x for x in shown.splitlines() if x.strip().startswith(line.name)]
        assert all(part in found for part in (line.before, line.before_interval, line.under, line.under_interval))
        assert f'<th scope="row">{line.name}</th><td class="n">{line.rows}</td><td class="n">{line.before}</td>' in page
    assert max(map(len, shown.splitlines())) <= 80


def test_a_record_without_them_says_nothing_of_them(plan: Make, rows: Data) -> None:
    record = run(plan(rows([0.3, 0.7], [0, 1])))
    assert "APCER" not in plain_text(record) and "Taken for" not in html(record)


def test_a_species_with_a_name_that_is_markup_stays_text(plan: Make, faces: Rows) -> None:
    odd = replace(faces, groups=tuple("<b>\x1b[31mx" if s == "print" else s for s in SPECIES))
    record = run(plan(odd, goal=SPOOF_TO_LIVE))
    assert "<b>" not in html(record).split("Taken for")[1] and "\x1b" not in plain_text(record)
