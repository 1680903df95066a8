"""Certificates agree with truth found otherwise, know goals and reject columns, and refuse what they cannot mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import pgd
from vauban.bounds import certified_radius, certify
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan, Unsupported
from vauban.target import Torch
from vauban.threat import Ball, Goal, Threat


@pytest.fixture(scope="module")
def plane() -> tuple[Torch, Tensor, Tensor]:
    """Three classes in the unit square, told apart by a trained network of two hidden layers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    points = torch.rand(400, 2)
    labels = (points[:, 0] > 0.5).long() + (points.sum(1) > 1.2).long()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(points), labels).backward()
        optimiser.step()
    target = Torch(model, outputs="logits")
    x = torch.rand(60, 2)
    return target, x, target.labels(x)


def grid(x: Tensor, eps: float, norm: float, side: int = 61) -> Tensor:
    """Points of each row's ball in the square, (points, rows, 2)."""
    axis = torch.linspace(-1, 1, side)
    moves = torch.cartesian_prod(axis, axis) * eps
    moves = moves[torch.linalg.vector_norm(moves, ord=norm, dim=1) <= eps]
    return (x + moves[:, None]).clamp(0, 1)


@pytest.mark.parametrize(("norm", "p"), [("linf", float("inf")), ("l2", 2.0), ("l1", 1.0)])
def test_a_fine_grid_finds_nothing_where_something_is_certified(plane, norm: str, p: float) -> None:
    target, x, y = plane
    answers = torch.stack([target.labels(points) for points in grid(x, 0.05, p)])
    stands = (answers == y).all(0)
    certified = {level: certify(target, x, y, Ball(0.05, norm), level=level).certified for level in ("interval", "crown", "alpha")}
    for found in certified.values():
        assert not bool((found & ~stands).any())
    assert certified["crown"].sum() >= certified["interval"].sum()
    assert certified["alpha"].sum() >= 0.8 * stands.sum() > 10  # and most of what stands is certified


def test_lines_certify_what_intervals_cannot_and_their_slopes_a_little_more(plane) -> None:
    target, x, y = plane
    for norm, eps in (("linf", 0.1), ("l2", 0.14)):
        low, middle, high = (certify(target, x, y, Ball(eps, norm), level=level) for level in ("interval", "crown", "alpha"))
        assert low.certified.sum() + 5 < middle.certified.sum() <= high.certified.sum()
        assert bool((middle.margin > low.margin)[~low.certified & (middle.margin > 0)].all())
        open_ = ~middle.certified
        assert bool((high.margin >= middle.margin)[open_].all())
        assert (high.margin > middle.margin + 1e-3)[open_].sum() >= 5


def test_pgd_breaks_nothing_that_is_certified(plane) -> None:
    target, x, y = plane
    for norm in ("linf", "l2", "l1"):
        for eps in (0.02, 0.1):
            ball = Ball(eps, norm)
            o = Oracle(target, x, y, Threat("t", ball))
            pgd(o, steps=20)
            assert not bool((o.outcome.broken & certify(target, x, y, ball).certified).any())


def test_the_certified_radius_is_certified_and_no_nearer_than_the_nearest_example(plane) -> None:
    target, x, y = plane
    radius = certified_radius(target, x, y, Ball(0.3), steps=8)
    for r, row, label in zip(radius.tolist(), x.split(1), y.split(1), strict=True):
        if r:
            assert bool(certify(target, row, label, Ball(r)).certified)
            assert bool((target.labels(grid(row, r, float("inf"))[:, 0]) == label).all())
    assert radius.max() > 0.05


def test_only_the_classes_that_win_count(plane) -> None:
    target, x, y = plane
    ball = Ball(0.08)
    each = [certify(target, x, y, ball, wins=torch.arange(3).eq(j).expand(60, 3)) for j in range(3)]
    everything = certify(target, x, y, ball)
    for row in range(60):
        others = [float(each[j].margin[row]) for j in range(3) if j != y[row]]
        assert min(others) == pytest.approx(float(everything.margin[row]), abs=1e-9) or everything.margin[row] < min(others)
    assert not any(bool(each[j].certified[y == j].any()) for j in range(3))  # being what one is cannot be ruled out
    wanted = Oracle(target, x, y, Threat("t", ball, goal=Goal(wanted=2)))
    pgd(wanted, steps=20)
    assert not bool((wanted.outcome.broken & each[2].certified).any())


def test_a_column_that_is_no_success_is_left_out() -> None:
    model = nn.Linear(1, 3)
    model.weight.data, model.bias.data = torch.tensor([[0.0], [0.0], [9.0]]), torch.tensor([1.0, 0.0, 0.0])
    target, x, y = Torch(model, outputs="logits", reject=2), torch.zeros(1, 1), torch.zeros(1, dtype=torch.long)
    assert not certify(target, x, y, Ball(0.5)).certified.any()
    wins = torch.tensor([[False, True, False]])
    assert certify(target, x, y, Ball(0.5), wins=wins).margin.item() == pytest.approx(1, abs=1e-5)
    nobody = certify(target, x, y, Ball(0.5), wins=torch.zeros(1, 3, dtype=torch.bool))
    assert nobody.certified.all()


def test_no_rows_have_no_certificates(plane) -> None:
    target, x, y = plane
    found = certify(target, x[:0], y[:0], Ball(0.1))
    assert found.margin.shape == found.certified.shape == (0,)
    assert certified_radius(target, x[:0], y[:0], Ball()).shape == (0,)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"level": "ibp"}, BadPlan, "level = 'ibp'"),
        ({"y": torch.tensor([3])}, BadData, "class numbers from 0 to 2"),
        ({"y": torch.tensor([0, 1])}, BadData, "one for each row"),
        ({"wins": torch.ones(1, 2, dtype=torch.bool)}, BadData, "wins has shape"),
        ({"ball": Ball(0.1, lo=0.5)}, BadData, "outside the box"),
        ({"ball": Ball(0.1, mask=[True])}, BadPlan, "mask"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(plane, change: dict, error: type[Exception], message: str) -> None:
    arguments = {"x": torch.full((1, 2), 0.2), "y": torch.tensor([0]), "ball": Ball(0.1), "level": "crown", "wins": None, **change}
    with pytest.raises(error, match=message):
        certify(plane[0], **arguments)


def test_scores_that_are_no_numbers_certify_nothing() -> None:
    model = nn.Linear(2, 2)
    model.weight.data[0, 0] = float("nan")
    assert not certify(Torch(model, outputs="logits"), torch.rand(3, 2), torch.zeros(3, dtype=torch.long), Ball(0.1)).certified.any()


def test_changes_that_are_counted_in_pixels_are_not_taken_for_features() -> None:
    target = Torch(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), outputs="logits")
    with pytest.raises(Unsupported, match="counts pixels"):
        certify(target, torch.full((1, 3, 2, 2), 0.5), torch.tensor([0]), Ball(1, "l0", pixels=True))
