"""The contest of verdicts: counts, pairs and promises on made-up runs, and one run whose answer is known in closed form."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from benchmarks import table, verdict
from benchmarks.contest import cascade
from benchmarks.elsewhere import figures
from benchmarks.verdict import Run, checks, fought, paired, said, told
from benchmarks.world import World
from torch import Tensor, nn


def run(
    side: str, seed: int, standing: tuple[int, ...], *, seconds: float = 1.0, passes: float = 10.0, n: int = 10, model: str = "m"
) -> Run:
    return Run(model, n, side, seed, seconds, 0.001, 0.003, passes, passes, standing=standing)


@pytest.fixture
def half_space() -> World:
    """Two classes apart on a plane through the middle of a box of eight features; the first row lies near it, the last far from it."""
    model = nn.Linear(8, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([torch.ones(8), -torch.ones(8)]) / 2)
        model.bias.copy_(torch.tensor([-2.0, 2.0]))
    x = 0.5 + torch.linspace(0.02, 0.2, 10)[:, None].expand(10, 8).contiguous()
    return World("half-space", model, copy.deepcopy(model), x, torch.zeros(10, dtype=torch.long), 0.101)


def test_a_run_says_what_the_closed_form_says(half_space: World) -> None:
    # score difference: the sum of the features less 4, which a change of eps in every feature lowers by 8 eps
    found = fought(half_space, "quick", 0)
    stands = tuple(i for i in range(10) if float(half_space.x[i].sum()) - 4 > 8 * half_space.eps)
    assert found.error == ""
    assert found.standing == stands
    assert found.unverified == 0
    assert found.hard_forwards >= found.forwards > 0
    assert found.seconds > 0


def test_an_unknown_suite_is_an_error_of_that_side_only(half_space: World) -> None:
    found = fought(half_space, "no such suite", 0)
    assert "no suite is named" in found.error
    assert math.isnan(found.robust)


def test_a_cascade_asks_each_part_only_about_what_is_left(half_space: World) -> None:
    asked: list[int] = []

    def down(by: float):
        def part(x: Tensor, y: Tensor) -> Tensor:
            asked.append(len(x))
            return x - by

        return part

    found = cascade(half_space, down(0.03), down(0.5), down(0.1)).adversarial
    # the second leaves the radius, so that nothing of it counts
    assert asked == [10, 9, 9]
    assert bool(((found - half_space.x).abs() <= half_space.eps + 1e-6).all())
    assert torch.equal(found[9], half_space.x[9])


def test_pairs_count_the_rows_that_only_one_side_broke() -> None:
    runs = [run("vauban", 0, (1, 2)), run("vauban", 1, (1,)), run("autoattack", 0, (2, 3, 4)), run("autoattack", 1, (1, 5))]
    line = paired(runs, "vauban", "autoattack")
    assert line["only_ours"] == [2, 1]
    assert line["only_theirs"] == [1, 0]


def test_a_side_is_summed_up_over_its_seeds() -> None:
    runs = [run("vauban", 0, (1, 2), seconds=1.0), run("vauban", 1, (1, 3), seconds=3.0), run("vauban", 2, (1,), seconds=2.0)]
    line = said(runs, "vauban")
    assert line["robust"] == pytest.approx((0.2 + 0.2 + 0.1) / 3)
    assert (line["least"], line["most"], line["ever"]) == (0.1, 0.2, 0.1)
    assert line["seconds"] == 2.0
    assert line["overhead"] == pytest.approx(2.0 / (10 * (10 * 0.001 + 10 * 0.002)))


def test_promises_compare_the_same_seed_and_take_the_worst() -> None:
    ours = [run("vauban", 0, (1,), seconds=0.5, passes=1), run("vauban", 1, (1, 2), seconds=0.5, passes=1)]
    theirs = [run("autoattack", 0, (1, 2), seconds=10, passes=8), run("autoattack", 1, (1,), seconds=10, passes=8)]
    found = {c.text: c for c in checks([*ours, *theirs])}
    above = found["m, 10 rows: vauban's robust accuracy less autoattack's, same seed, worst seed"]
    assert above.measured == pytest.approx(0.1)
    assert not above.holds
    assert found["m, 10 rows: vauban's CPU time over autoattack's"].measured == 0.05
    assert not found["m, 10 rows: vauban's forwards over autoattack's"].holds


def test_a_side_that_broke_keeps_no_promise_and_asks_for_none_of_others() -> None:
    broken = Run("mnist-at", 100, "vauban", 0, error="BadPlan: no suite")
    assert all(c.measured is None or math.isnan(c.measured) for c in checks([broken]))
    assert checks([broken])
    assert not any(c.holds for c in checks([broken]))
    assert checks([run("autoattack", 0, (1,))]) == []


def test_official_figures_are_for_their_rows_only_and_say_where_they_are_from() -> None:
    assert [f.robust for f in figures("mnist-at", 100)][:2] == [0.84, 0.83]
    assert figures("mnist-at", 500) == ()
    cells = table.suite(told(figures("cifar-at", 50)[0]))
    assert "elsewhere" in cells
    assert "7864 + 1910" in cells
    assert len(cells) == len(table.VERDICTS)


def test_every_line_of_a_contest_has_its_row_in_the_tables() -> None:
    runs = [run("vauban", 0, (1, 2)), run("autoattack", 0, (1,)), Run("m", 10, "standard", 0, error="crash")]
    lines = [r.line() for r in runs] + [said(runs, side) for side in ("vauban", "autoattack", "standard")]
    lines += [paired(runs, "vauban", "autoattack")]
    page = table.markdown(lines)
    assert "| vauban | here | 1 | 0.2 |" in page
    assert "crash" in page
    assert "| vauban | autoattack | 0 | 1 |" in page


def test_models_may_be_named_one_by_one_or_all_tuning_models_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(verdict, "FOLDER", tmp_path)
    (tmp_path / "tab-a.rows.safetensors").touch()
    assert verdict.chosen(()) == verdict.MODELS
    assert verdict.chosen(("cifar-at", "tuning")) == ("cifar-at", "tab-a")
