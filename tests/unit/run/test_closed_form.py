"""What a run says of a half-space, where everything is known: class 1 exactly where the first feature is above 0.5."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vauban.attacks import find
from vauban.campaign.doubts.evidence import unverified
from vauban.campaign.plan import Plan
from vauban.campaign.run import audit_plan
from vauban.data import Rows
from vauban.errors import BadPlan, NotGranted
from vauban.report.gallery import Gallery
from vauban.target import Function, Torch
from vauban.threat import Access, Goal

Make = Callable[..., Plan]
Data = Callable[..., Rows]
run = partial(audit_plan, doubters=())


def test_rows_fall_exactly_where_the_boundary_is_within_eps(plan: Make, rows: Data) -> None:
    # distances to the boundary: 0.05, 0.15, 0.3 above it, 0.08 below it; the last row errs when clean
    data = rows([0.55, 0.65, 0.8, 0.42, 0.9], [1, 1, 1, 0, 0])
    found = run(plan(data, eps=0.1))["insider"]
    assert found.standing() == {0: False, 1: True, 2: True, 3: False, 4: False}
    assert (found.robust.hits, found.robust.rows, found.clean.hits, found.clean.rows) == (2, 5, 4, 5)
    assert found.denominator == "all rows"
    assert (found.attacks[0].tried, found.attacks[0].broken, found.attacks[0].left) == (4, 2, 2)
    assert found.confusion == ((0, 2), (1, 2))


def test_the_denominator_of_a_directional_goal_is_the_right_rows_of_the_source_classes(plan: Make, rows: Data) -> None:
    # class 1 to class 0; row 2 is of the source class and misclassified, rows 3 and 4 are of the other class
    data = rows([0.55, 0.9, 0.3, 0.42, 0.9], [1, 1, 1, 0, 0], classes=("live", "spoof"))
    found = run(plan(data, eps=0.1, goal=Goal.directional(1, 0)))["insider"]
    assert found.standing() == {0: False, 1: True}
    assert (found.clean.hits, found.clean.rows) == (3, 5)
    assert found.denominator == "rows of spoof classified correctly and not already as wanted"
    assert [g.robust.rows for g in found.classes] == [0, 2]
    assert found.confusion == ((0, 0), (1, 1))


def test_a_threat_without_a_row_to_attack_measures_nothing_and_spoils_nothing(plan: Make, rows: Data) -> None:
    found = run(plan(rows([0.9, 0.8], [0, 0]), goal=Goal.directional(0, 1)))["insider"]
    assert found.robust.rows == 0
    assert found.attacks[0].tried == 0


def test_chunks_without_a_row_to_attack_are_no_error(plan: Make, rows: Data) -> None:
    data = rows([0.42, 0.41, 0.55, 0.43], [0, 0, 1, 0])
    found = run(plan(data, goal=Goal.directional(1, 0), chunk=1))["insider"]
    assert found.standing() == {2: False}


def test_the_curve_is_the_share_of_rows_farther_than_each_radius(plan: Make, rows: Data) -> None:
    margins = [0.05, 0.15, 0.3, 0.08]
    data = rows([0.55, 0.65, 0.8, 0.42, 0.9], [1, 1, 1, 0, 0])
    found = run(plan(data, eps=0.1, attacks=("pgd", "fmn")))["insider"]
    assert found.curve is not None
    assert 0.0 in found.curve.eps
    assert 0.1 in found.curve.eps
    assert len(found.curve.eps) >= 40
    assert max(found.curve.eps) >= 0.2
    for eps, rate in zip(found.curve.eps, found.curve.robust, strict=True):
        if min(abs(eps - m) for m in margins) > 0.01:  # the attack comes this close to the nearest point
            assert (rate.hits, rate.rows) == (sum(m > eps for m in margins), 5)


def test_without_a_minimum_norm_attack_there_is_no_curve(plan: Make, rows: Data) -> None:
    assert run(plan(rows([0.55], [1])))["insider"].curve is None


def test_groups_and_classes_add_up_to_the_denominator(plan: Make, rows: Data) -> None:
    data = rows([0.55, 0.65, 0.8, 0.42, 0.9], [1, 1, 1, 0, 0], groups=("a", "b", "a", "b", "a"), group_column="site")
    record = run(plan(data))
    found = record["insider"]
    for parts in (found.groups, found.classes):
        assert sum(g.robust.rows for g in parts) == found.robust.rows
        assert sum(g.robust.hits for g in parts) == found.robust.hits
        assert sum(g.clean.hits for g in parts) == found.clean.hits
    assert [(g.name, g.robust.hits, g.robust.rows) for g in found.groups] == [("a", 1, 3), ("b", 1, 2)]
    assert record.data.group == "site"


def test_examples_survive_rounding_where_the_nearest_level_is_beyond_the_boundary(plan: Make, rows: Data, half_space: Any) -> None:
    """FGSM moves the first pixel by eps = 0.3 / 255 from k + 0.2 levels down to k - 0.1: rounded, that is level k."""
    level = 100
    shape = (1, 1, 3)
    for threshold, survives in (((level + 0.05) / 255, True), ((level - 0.05) / 255, False)):
        data = rows([(level + 0.2) / 255], [1], shape=shape, kind="image", classes=("a", "b"))
        target = Torch(half_space(threshold), outputs="logits")
        found = run(plan(data, target=target, eps=0.3 / 255))["insider"]
        assert found.robust.hits == 0
        assert found.rounding is not None
        assert (found.rounding.hits, found.rounding.rows) == (int(survives), 1)


def test_no_survival_of_rounding_is_claimed_for_what_is_no_eight_bit_image(plan: Make, rows: Data) -> None:
    assert run(plan(rows([0.55], [1])))["insider"].rounding is None


def test_an_example_that_fools_only_in_company_counts_as_standing(plan: Make, rows: Data, half_space: Any) -> None:
    class Company(nn.Module):
        """Answers class 1 for rows below the boundary whenever it is asked about one row alone."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = half_space()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.inner(x)
            return torch.tensor([[0.0, 1.0]]).expand_as(z) + 0 * z if len(x) == 1 else z

    data = rows([0.55, 0.56, 0.8], [1, 1, 1])
    found = run(plan(data, target=Torch(Company(), outputs="logits")), doubters=(unverified,))["insider"]
    assert found.unverified == 2
    assert found.robust.hits == 3
    assert found.attacks[0].broken == 0
    assert found.attacks[0].left == 3
    assert [d.name for d in found.doubts] == ["unverified"]


def test_an_earlier_example_counts_where_the_nearest_one_does_not_fool_again(plan: Make, rows: Data) -> None:
    """Alone, the boundary lies 0.03 lower: what FGSM found at 0.1 still fools, what FMN found at the boundary does not."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = (x.flatten(1)[:, 0] - (0.47 if len(x) == 1 else 0.5)) * self.w
            return torch.stack([torch.zeros_like(first), first], 1)

    data = rows([0.55, 0.551, 0.552], [1, 1, 1])
    found = run(plan(data, target=Torch(Shifted(), outputs="logits"), attacks=("fgsm", "fmn")))["insider"]
    assert found.unverified == 0
    assert found.robust.hits == 0


def test_first_and_most_count_the_questions_of_the_attack_itself(plan: Make, rows: Data) -> None:
    found = run(plan(rows([0.55, 0.8], [1, 1]), attacks=("uniform-noise", "fgsm", "bim")))["insider"]
    by_name = {a.label: a for a in found.attacks}
    fgsm = by_name["fgsm"]
    assert sum(a.broken for a in found.attacks) == 1
    assert all(1 <= f <= a.most for a in found.attacks for f in a.first)
    assert fgsm.most == 2  # the gradient's question and the submission
    assert by_name["bim"].most <= 11


def test_questions_of_earlier_attacks_are_not_counted_in_the_one_that_won(plan: Make, rows: Data) -> None:
    made = plan(rows([0.55, 0.9], [1, 1]))
    shy = find("pgd").bind(steps=3, step=0.001, start="clean")
    siege = replace(made.sieges[0], attacks=(shy, *made.sieges[0].attacks))
    found = run(replace(made, sieges=(siege,)))["insider"]
    assert [(a.label, a.broken, a.first, a.most) for a in found.attacks] == [("pgd", 0, (), 4), ("fgsm", 1, (2,), 2)]


def test_the_table_has_a_line_for_each_row_and_attack(plan: Make, rows: Data, tmp_path: Path) -> None:
    data = rows([0.55, 0.8, 0.9], [1, 1, 0])
    run(plan(data, attacks=("fgsm", "pgd")), folder=tmp_path)
    (file,) = tmp_path.glob("*/rows/insider/0000.parquet")
    table = pq.read_table(file).to_pylist()
    assert [(t["row"], t["attack"], t["tried"], t["broken"]) for t in table] == [
        (0, "fgsm", True, True),
        (0, "pgd", False, False),
        (1, "fgsm", True, False),
        (1, "pgd", True, False),
        (2, "", False, True),
    ]
    assert table[0]["first"] == 2
    assert table[0]["distance"] == pytest.approx(0.1)
    assert table[1]["queries"] == 0
    assert table[4]["distance"] == 0
    assert table[2]["distance"] is None


def test_saved_examples_are_inside_and_fool(plan: Make, rows: Data, tmp_path: Path) -> None:
    data = rows([0.55, 0.57, 0.8], [1, 1, 1], ids=torch.tensor([3, 7, 9]))
    run(plan(data, eps=0.1), folder=tmp_path)
    (file,) = tmp_path.glob("*/adversarial/insider/0000.safetensors")
    saved = load_file(file)
    assert saved["row"].tolist() == [3, 7]
    assert saved["x"].dtype == torch.float32
    assert float((saved["x"].double() - data.x[:2].double()).abs().max()) <= 0.1
    assert bool((saved["x"][:, 0] < 0.5).all())
    assert saved["answer"].tolist() == [0, 0]
    gallery = Gallery.read(next(tmp_path.glob("*/gallery/insider.npz")))
    assert gallery.row.tolist() == [3, 7]
    assert np.array_equal(gallery.adversarial, saved["x"].numpy())
    assert np.array_equal(gallery.clean, data.x[:2].numpy())
    assert gallery.adversarial_score == pytest.approx(1 / (1 + np.exp(saved["x"][:, 0].numpy() - 0.5)))


def test_the_gallery_shows_the_first_row_of_each_class_before_a_second_of_any(plan: Make, rows: Data, tmp_path: Path) -> None:
    data = rows([0.55] * 14 + [0.45] * 3, [1] * 14 + [0] * 3)
    run(plan(data), folder=tmp_path)
    gallery = Gallery.read(next(tmp_path.glob("*/gallery/insider.npz")))
    assert gallery.row.tolist() == [0, 14, 1, 15, 2, 16, 3, 4, 5, 6, 7, 8]


def test_rows_with_scores_that_are_no_numbers_never_count_as_fooled_by_an_attack(plan: Make, rows: Data) -> None:
    class Nan(nn.Module):
        """The half-space, but NaN below 0.47: an attack that crosses the boundary by more finds nothing it may keep."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = (x.flatten(1)[:, 0] - 0.5) * self.w
            return torch.stack([torch.zeros_like(first), torch.where(first < -0.03, torch.nan, first)], 1)

    seen: list[Any] = []

    def look(scene: Any) -> None:
        seen.append(scene)

    data = rows([0.55, 0.58, 0.9, 0.3], [1, 1, 1, 0])
    found = run(plan(data, target=Torch(Nan(), outputs="logits")), doubters=(look,))["insider"]
    assert found.standing() == {0: True, 1: False, 2: True, 3: False}  # to 0.45: NaN; to 0.48: fooled; NaN when clean: wrong
    assert found.clean.hits == 3
    assert seen[0].nonfinite == 2


def test_doubters_see_every_row_and_their_doubts_are_kept(plan: Make, rows: Data) -> None:
    from vauban.campaign.record import Doubt

    def doubter(scene: Any) -> Doubt:
        assert scene.rows.tolist() == [0, 1, 2]
        assert scene.broken.tolist() == [True, False, True]
        assert scene.by.tolist() == [0, -1, -1]
        assert scene.distance.tolist()[1:] == [math.inf, 0.0]
        assert scene.attacks[0].label == "fgsm"
        return Doubt("too-few-rows", "three rows are few")

    found = run(plan(rows([0.55, 0.8, 0.9], [1, 1, 0]), chunk=2), doubters=(doubter, lambda scene: None))["insider"]
    assert [d.name for d in found.doubts] == ["too-few-rows"]


def test_a_randomised_target_is_taken_by_the_oracles_majority(plan: Make, rows: Data) -> None:
    def noisy(x: np.ndarray, noise: Any) -> np.ndarray:
        first = x.reshape(len(x), -1)[:, 0] - 0.5 + 0.02 * (noise.uniform(1)[:, 0].numpy() - 0.5)
        return np.stack([np.zeros_like(first), first], 1)

    target = Function(noisy, randomised=True, outputs="logits")
    made = plan(rows([0.55, 0.8], [1, 1]), target=target, attacks=("uniform-noise",), eps=0.2)
    siege = replace(made.sieges[0], threat=replace(made.sieges[0].threat, access=Access.SCORE))
    found = run(replace(made, sieges=(siege,)))["insider"]
    assert found.standing() == {0: False, 1: True}
    assert found.unverified == 0


def test_what_cannot_be_done_is_said_before_anything_is_asked(plan: Make, rows: Data) -> None:
    made = plan(rows([0.55], [1]))
    with pytest.raises(BadPlan, match="no threat"):
        run(replace(made, sieges=()))
    with pytest.raises(BadPlan, match="two threats are named 'insider'"):
        run(replace(made, sieges=made.sieges * 2))
    with pytest.raises(BadPlan, match="has no attack"):
        run(replace(made, sieges=(replace(made.sieges[0], attacks=()),)))
    with pytest.raises(NotGranted, match="only shows scores"):
        run(replace(made, target=Function(lambda x: x[:, :2])))
