"""Other tools' examples, judged against a half-space whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vauban.campaign.plan import Plan
from vauban.campaign.rejudge import rejudge
from vauban.data import Rows
from vauban.errors import BadData
from vauban.threat import Goal

Make = Callable[..., Plan]
Data = Callable[..., Rows]


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "other.npz", **arrays)
    return path / "other.npz"


@pytest.fixture
def made(plan: Make, rows: Data) -> Plan:
    return plan(rows([0.55, 0.65, 0.58, 0.42, 0.9], [1, 1, 1, 0, 0], ids=torch.tensor([2, 3, 5, 7, 11])))


def moved(made: Plan, first: list[float]) -> np.ndarray:
    x = made.data.x.numpy().copy()
    x[:, 0] = first
    return x


def test_only_examples_inside_that_fool_count_and_the_others_are_told_why(made: Plan, tmp_path: Path) -> None:
    x = moved(made, [0.46, 0.49, 0.52, 0.51, 0.1])
    x[2, 1] = np.nan
    _, (judged,) = rejudge(made, saved(tmp_path, x_adv=x, row=np.array([2, 3, 5, 7, 11])))
    assert (judged.given, judged.set_aside, judged.inside, judged.fooled) == (5, 1, 2, 2)
    assert judged.worst == pytest.approx(0.8)
    assert {f.row: f.why.split(" ")[0] for f in judged.failures} == {3: "its", 5: "the"}
    assert "distance 0.16 is more than eps = 0.1" in judged.failures[0].why


def test_an_example_that_does_not_fool_is_told_with_its_answer(made: Plan, tmp_path: Path) -> None:
    _, (judged,) = rejudge(made, saved(tmp_path, x=moved(made, [0.51, 0.6, 0.51, 0.43, 0.9])))
    assert judged.fooled == 0
    assert judged.inside == 4
    assert judged.failures[0].why == "the target is not fooled: it answers 1"


def test_leaving_the_box_is_no_way_in(plan: Make, rows: Data, tmp_path: Path) -> None:
    made = plan(rows([0.55, 0.6], [1, 1]), eps=0.2)
    x = made.data.x.numpy().copy()
    x[:, 0], x[0, 1] = 0.45, 1.1
    x[0, 1] = 0.5 + 0.6  # also too far
    made.data.x[0, 1] = 0.95
    _, (judged,) = rejudge(made, saved(tmp_path, x=x))
    assert judged.fooled == 1
    assert judged.failures[0].why.startswith("the example leaves the box")


def test_rounding_error_of_other_tools_is_forgiven_but_nothing_more(plan: Make, rows: Data, tmp_path: Path) -> None:
    made = plan(rows([0.6, 0.6], [1, 1]), eps=0.11)
    x = made.data.x.numpy().astype(np.float64)
    x[0, 0], x[1, 0] = 0.6 - 0.11 * (1 + 5e-7), 0.6 - 0.11 * (1 + 1e-5)
    _, (judged,) = rejudge(made, saved(tmp_path, x=x))
    assert (judged.inside, judged.fooled) == (1, 1)


def test_rows_in_any_order_and_claimed_labels_are_matched_to_the_data(made: Plan, tmp_path: Path) -> None:
    x = moved(made, [0.46, 0.49, 0.52, 0.51, 0.1])[[3, 0]]
    found, (judged,) = rejudge(made, saved(tmp_path, x_adv=x, row=np.array([7, 2]), y=np.array([1, 1])))
    assert found.labels_differ == 1
    assert (judged.given, judged.fooled) == (2, 2)


def test_only_the_wanted_class_counts_for_a_directional_goal(plan: Make, rows: Data, tmp_path: Path) -> None:
    made = plan(rows([0.55, 0.45], [1, 0]), goal=Goal.directional(1, 0))
    x = made.data.x.numpy().copy()
    x[:, 0] = [0.46, 0.54]
    _, (judged,) = rejudge(made, saved(tmp_path, x=x))
    assert (judged.given, judged.set_aside, judged.fooled) == (2, 1, 1)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"z": np.zeros((2, 3))}, "no array x_adv"),
        ({"x": np.zeros((2, 4))}, r"shape \(4,\), and the data have \(3,\)"),
        ({"x": np.zeros((2, 3), dtype=np.uint8)}, "x is uint8; give floats"),
        ({"x": np.zeros((9, 3))}, "9 examples, and the data have 5 rows"),
        ({"x": np.zeros((0, 3))}, "no examples"),
        ({"x": np.zeros((2, 3)), "row": np.array([2, 4])}, "row 4 is not among the data"),
        ({"x": np.zeros((2, 3)), "row": np.array([2, 99])}, "row 99 is not among the data"),
        ({"x": np.zeros((2, 3)), "row": np.array([2, 2])}, "row 2 is given twice"),
        ({"x": np.zeros((2, 3)), "row": np.array([2.5, 3])}, "row is float64"),
        ({"x": np.zeros((2, 3)), "y": np.array([2])}, r"y is int64 of shape \(1,\)"),
        ({"x": np.array([{}, {}])}, "not an .npz archive of plain arrays"),
    ],
)
def test_a_bad_file_gets_one_clear_sentence(made: Plan, tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(BadData, match=says):
        rejudge(made, saved(tmp_path, **arrays))


def test_what_is_no_archive_is_said_so(made: Plan, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(BadData, match=r"not an \.npz archive"):
        rejudge(made, tmp_path / "x.npz")
    with pytest.raises(BadData, match="no such file"):
        rejudge(made, tmp_path / "none.npz")
