"""Goals: which rows are eligible and make the denominator, and what counts as a success."""

from __future__ import annotations

import pytest
import torch
from spine import Table, siege
from worlds import Halfspace, rows

from vauban.attacks import pgd
from vauban.doors import Aim
from vauban.errors import BadData, BadPlan, BadTarget
from vauban.target import Torch
from vauban.threat import Ball, Goal

X = torch.tensor([[0.9, 0.1, 0.2, 0.0], [0.1, 0.9, 0.2, 0.0], [0.1, 0.2, 0.9, 0.0], [0.9, 0.1, 0.2, 0.0], [0.2, 0.1, 0.3, 0.9]])
Y = torch.tensor([0, 1, 2, 1, 0])  # row 3 is misclassified as 0, row 4 as 3


def table(goal: Goal | None = None, reject: int | None = None, **options: object):
    target = Torch(Table(4), outputs="logits", reject=reject)
    return siege(target, Ball(1.0), x=options.pop("x", X), y=options.pop("y", Y), threat={"goal": goal or Goal()}, **options)


def column(*best: int) -> torch.Tensor:
    """Inputs that a table answers with these classes."""
    return torch.nn.functional.one_hot(torch.tensor(best), 4).float()


def test_untargeted_all_rows_count_and_the_wrong_ones_are_broken_untouched() -> None:
    r = table().outcome
    assert r.eligible.all()
    assert r.attacked.tolist() == [True, True, True, False, False]
    assert r.correct.tolist() == [True, True, True, False, False]
    assert r.answers.tolist() == [0, 1, 2, 0, 3]
    assert r.broken.tolist() == [False, False, False, True, True]
    assert r.standing.tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("goal", "eligible"),
    [
        (Goal(wanted=0), [False, True, True, False, False]),
        (Goal(wanted=1), [True, False, True, False, False]),
        (Goal.directional(2, 1), [False, False, True, False, False]),
        (Goal.directional([0, 2], 1), [True, False, True, False, False]),
        (Goal(wanted=(1, 1, 2, 0, 1)), [True, False, False, False, False]),
    ],
)
def test_with_a_wanted_class_only_right_rows_that_are_not_there_yet_count(goal: Goal, eligible: list[bool]) -> None:
    o = table(goal)
    r = o.outcome
    assert r.eligible.tolist() == r.attacked.tolist() == eligible
    assert not r.broken.any()
    assert (r.distance == torch.inf).all()


def test_wanted_means_that_class_and_no_other() -> None:
    o = table(Goal(wanted=2))
    assert o.x.shape[0] == 2
    assert o.fooled(column(1, 2)).tolist() == [False, True]


def test_one_wanted_class_for_each_input_follows_the_row_id() -> None:
    goal = Goal(wanted=(9, 9, 9, 1, 2, 3))
    o = table(goal, x=X[:3], y=Y[:3], ids=torch.tensor([5, 4, 3]))
    assert o.fooled(column(3, 2, 1)).all()
    o = table(goal, x=X[:3], y=Y[:3], ids=torch.tensor([5, 4, 3]))
    assert not o.fooled(column(1, 1, 2)).any()


@pytest.mark.parametrize(
    ("goal", "rejects", "others", "rejected_wins"),
    [(Goal(), [3, 3, 3], [1, 2, 0], False), (Goal(reject_wins=True), [3, 3, 3], [1, 2, 0], True), (Goal.directional([0, 1], 2), [3, 3], [2, 2], False),
     (Goal(wanted=2, sources=(0, 1), reject_wins=True), [3, 3], [2, 2], True)],
)  # fmt: skip
def test_a_rejected_answer_is_no_success_unless_the_threat_says_so(
    goal: Goal, rejects: list[int], others: list[int], rejected_wins: bool
) -> None:
    o = table(goal, reject=3)
    assert o.fooled(column(*rejects)).tolist() == [rejected_wins] * len(rejects)
    o = table(goal, reject=3)
    assert o.fooled(column(*others)).all()


def test_a_rejected_answer_is_not_correct() -> None:
    o = table(reject=0)
    assert o.outcome.correct.tolist() == [False, True, True, False, False]
    assert o.outcome.attacked.tolist() == [False, True, True, False, False]


def test_a_tie_with_the_reject_column_is_the_defenders() -> None:
    o = table(reject=3)
    assert not o.fooled(torch.tensor([[0.0, 0.5, 0, 0.5], [0.5, 0, 0, 0.5], [0.0, 0.5, 0, 0.5]])).any()


def test_cross_entropy_climbs_away_from_the_truth_and_towards_what_is_wanted() -> None:
    z, y = torch.tensor([[2.0, 1.0, 0.0, 0.0]]), torch.tensor([0])
    exact = -z.log_softmax(1)[0]
    untargeted = Aim.of_goal(Goal(), y, 4, None, torch.tensor([0]))
    wanted = Aim.of_goal(Goal(wanted=2), y, 4, None, torch.tensor([0]))
    assert torch.allclose(untargeted.cross_entropy(z), exact[0])
    assert torch.allclose(wanted.cross_entropy(z), -exact[2])
    assert float(untargeted.margin(z)) == -1
    assert float(wanted.margin(z)) == -2
    assert (int(wanted.best_loser(z)), int(wanted.best_winner(z))) == (0, 2)
    assert (int(untargeted.best_loser(z)), int(untargeted.best_winner(z))) == (0, 1)


def test_directional_attacks_report_over_the_rows_they_attacked() -> None:
    model, (x, _) = Halfspace(), rows(6)
    x[4:] += 0.4
    o = siege(model, Ball(0.3), x=x, y=torch.tensor([0, 0, 0, 0, 1, 1]), threat={"goal": Goal.directional(0, 1)})
    pgd(o, steps=10)
    r = o.outcome
    assert r.eligible.tolist() == r.broken.tolist() == [True] * 4 + [False] * 2
    assert r.correct.all()


def test_goals_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(BadPlan, match="no row is of a source class"):
        table(Goal.directional(3, 1))
    with pytest.raises(BadPlan, match="wanted class 7 does not exist"):
        table(Goal(wanted=7))
    with pytest.raises(BadPlan, match="2 wanted classes, and rows up to number 4"):
        table(Goal(wanted=(1, 2)))


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        (X[:0], Y[:0], "0 inputs"),
        (X, Y[:3], "5 inputs and 3 labels"),
        (X, Y.float(), "whole numbers"),
        (X.long(), Y, "must be floats"),
        (X * torch.tensor([1, 1, torch.nan, 1]), Y, "row 0 of the inputs is not finite"),
        (X + 0.5, Y, "lies outside the box"),
        (X, Y + 3, "row 1: label 4 is out of range"),
        (X, Y - 1, "row 0: label -1 is out of range"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused_in_one_sentence(x: torch.Tensor, y: torch.Tensor, error: str) -> None:
    with pytest.raises(BadData, match=error):
        table(x=x, y=y)


def test_a_target_whose_class_count_changes_is_refused() -> None:
    class Growing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, : 3 if float(x.detach().max()) < 0.95 else 2]

    o = siege(Growing(), Ball(0.5), x=X[:3], y=Y[:3])
    for question in (o.fooled, o.ascend):
        with pytest.raises(BadTarget, match="3 classes at first, and now outputs of shape"):
            question(o.x + 0.1)


def test_mostly_non_finite_clean_scores_are_an_error() -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(torch.arange(len(x))[:, None] < 3, torch.nan, x)

    with pytest.raises(BadTarget, match="3 of 5 clean inputs have scores that are not finite"):
        siege(Broken(), Ball(0.5), x=X, y=Y)
