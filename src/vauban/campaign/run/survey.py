"""The clean answers of all rows, asked once: who is right, who is eligible under a goal, and what the target is."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.campaign.plan import Plan
from vauban.campaign.run.chunk import Survey
from vauban.data import Rows
from vauban.doors.oracle.entry import Answers, clean_answers, eligible_rows
from vauban.doors.oracle.passes import Chunks
from vauban.doors.oracle.room import usual_rows
from vauban.errors import BadTarget
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Goal


@dataclass(frozen=True, eq=False)
class Ground:
    """The rows of a campaign in order of id, with their clean answers in tensors on the CPU.

    Attributes:
        rows: the data, ascending by id.
        survey: what the target said, as recorded.
        answers: int64 (n,).
        correct, nonfinite: bool (n,).
        missing: bool (n,), rows about which the target gave no answer: in no denominator.
    """

    rows: Rows
    survey: Survey
    answers: Tensor
    correct: Tensor
    nonfinite: Tensor
    missing: Tensor

    @classmethod
    def of(cls, rows: Rows, survey: Survey) -> Ground:
        silent = torch.zeros(len(survey.answers), dtype=torch.bool)
        silent[list(survey.missing)] = True
        return cls(rows, survey, torch.tensor(survey.answers), torch.tensor(survey.correct), torch.tensor(survey.nonfinite), silent)

    def clean(self, places: Tensor) -> Answers:
        """The clean answers of some rows, for an oracle that is not to ask for them again."""
        answers, correct, nonfinite, missing = (part[places] for part in (self.answers, self.correct, self.nonfinite, self.missing))
        return Answers(answers, correct, nonfinite, missing, self.survey.classes)

    def denominator(self, goal: Goal) -> tuple[Tensor, Tensor]:
        """(eligible, attacked), bool (n,), under a goal; both empty where there is no row to attack."""
        eligible, attacked = eligible_rows(goal, self.rows.y, self.correct, self.rows.ids, judging=False)
        return eligible & ~self.missing, attacked & ~self.missing


def by_id(rows: Rows) -> Rows:
    """The rows in ascending order of id, so that a record does not depend on the order they came in."""
    if bool((rows.ids[1:] > rows.ids[:-1]).all()):
        return rows
    return rows.take(rows.ids.argsort())


def ask_clean(plan: Plan, rows: Rows) -> Survey:
    """Ask the target about every clean row.

    Raises:
        BadTarget, BadData: it is no classifier, its class count changes, most scores are not finite, or a label has no class.
    """
    began = time.perf_counter()
    target, device = plan.target, plan.target.device
    chunks = Chunks(rows_in_a_pass(target, plan.max_rows))
    x, y = rows.x.to(device), rows.y.to(device)
    answers = clean_answers(target, x, y, chunks, RowNoise(rows.ids.to(device), plan.seed), judging=True)
    return Survey(
        tuple(rows.ids.tolist()),
        tuple(answers.labels.tolist()),
        tuple(answers.correct.tolist()),
        tuple(answers.nonfinite.tolist()),
        answers.classes,
        target.outputs,
        time.perf_counter() - began,
        tuple(answers.missing.nonzero()[:, 0].tolist()),
    )


def introduce(plan: Plan, rows: Rows) -> None:
    """Show a target what an audit shows it first: by that it tells what its outputs are, how many classes it has, and whether it rejects.

    Args:
        rows: in the order of their ids.
    """
    plan.target.prepare(rows.x[: rows_in_a_pass(plan.target, plan.max_rows)].to(plan.target.device))


def look_again(plan: Plan, rows: Rows, survey: Survey) -> None:
    """Let a fresh target see what it saw first in the run that is resumed, so that its outputs are understood alike.

    Raises:
        BadTarget: they are not; the model is another than the run began with.
    """
    target = plan.target
    introduce(plan, rows)
    if target.outputs != survey.outputs:
        raise BadTarget(
            f"{target.name}: its outputs look like {target.outputs}, and like {survey.outputs} when this run began; begin a fresh run"
        )


def rows_in_a_pass(target: Target, max_rows: int | None) -> int:
    """How many rows one pass without gradients takes at first: what was asked for, or the usual number."""
    return max_rows or usual_rows(target.device)
