"""Two dimensions, where a fine grid knows the truth: what attacks find is what there is, and never nearer than it is."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import INF, Ball, Goal, Threat

P = {"linf": INF, "l2": 2.0, "l1": 1.0}
SIDE = 401


class Bent(nn.Module):
    """Three classes around the middle of the plane, their borders bent by a ReLU each."""

    def __init__(self) -> None:
        super().__init__()
        turn = torch.tensor([0.3, 2.4, 4.5])
        self.a = nn.Parameter(torch.stack([turn.cos(), turn.sin()], 1))
        self.b = nn.Parameter(torch.stack([(turn + 0.8).cos(), (turn + 0.8).sin()], 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x - torch.tensor([0.45, 0.55])
        return x @ self.a.T + 0.4 * torch.relu(x @ self.b.T - 0.1)


@functools.cache
def truth(norm: str, wanted: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Points, their classes, and how far each is from the nearest point of the grid that another (the wanted) class owns."""
    model = Bent()
    axis = torch.linspace(0, 1, SIDE)
    grid = torch.cartesian_prod(axis, axis)
    said = model(grid).argmax(1)
    g = torch.Generator().manual_seed(0)
    x = torch.rand(60, 2, generator=g)
    y = model(x).argmax(1)
    d = torch.linalg.vector_norm(grid[None] - x[:, None], ord=P[norm], dim=2)
    lost = said[None] != y[:, None] if wanted is None else (said[None] == wanted).expand(60, -1)
    return x, y, torch.where(lost, d, INF).amin(1).double()


def run(name: str, norm: str, eps: float, goal: Goal | None = None, **settings: object) -> Oracle:
    x, y, _ = truth(norm)
    threat = Threat("t", Ball(eps, norm), goal=goal or Goal())
    o = Oracle(Torch(Bent(), outputs="logits"), x, y, threat, settle="nearest" if ATTACKS[name].facts.minimal else "first")
    ATTACKS[name].bind(**settings)(o)
    return o


def test_the_plane_is_worth_searching() -> None:
    x, y, smallest = truth("linf")
    assert torch.bincount(y, minlength=3).min() >= 5
    assert smallest.min() < 0.05
    assert smallest.max() > 0.15
    assert x.shape == (60, 2)


@pytest.mark.parametrize("norm", P)
@pytest.mark.parametrize("eps", [0.03, 0.1, 0.2])
def test_pgd_breaks_exactly_the_rows_that_can_be_broken(norm: str, eps: float) -> None:
    """Rows within a grid step of the radius may fall either way."""
    smallest = truth(norm)[2]
    step = 2.0 / SIDE
    r = run("pgd", norm, eps, steps=40, restarts=3, loss="margin").outcome
    assert r.broken[smallest < eps - step].all()
    assert not r.broken[smallest > eps + step].any()
    assert (r.distance[r.broken] >= smallest[r.broken] - step).all()


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_a_wanted_class_is_reached_where_it_can_be(wanted: int) -> None:
    x, y, _ = truth("linf")
    smallest = truth("linf", wanted)[2]
    eps, step = 0.2, 2.0 / SIDE
    r = run("pgd", "linf", eps, Goal(wanted=wanted), steps=40, restarts=4, loss="margin").outcome
    assert torch.equal(r.eligible, y != wanted)
    assert not (r.broken & (smallest > eps + step)).any()
    near = r.eligible & (smallest < eps - step)
    assert r.broken[near].float().mean() > 0.95, "a local maximum may hide a row"
    assert (Bent()(r.best[r.broken]).argmax(1) == wanted).all()
    assert len(x) == 60


@pytest.mark.parametrize(
    ("name", "norm", "settings", "share", "within"),
    [
        ("deepfool", "l2", {}, 0.6, 1.05),
        ("deepfool", "linf", {}, 0.6, 1.05),
        ("ddn", "l2", {"steps": 200}, 0.9, 1.15),
        ("ddn", "l2", {"steps": 200, "loss": "margin"}, 0.9, 1.02),
        ("fmn", "l2", {"steps": 300}, 0.9, 1.02),
        ("fmn", "linf", {"steps": 300}, 0.9, 1.05),
        ("fmn", "l1", {"steps": 300}, 0.85, 1.05),
        ("cw-l2", "l2", {"steps": 200, "searches": 9, "rate": 0.05}, 0.9, 1.02),
        ("cw-linf", "linf", {"steps": 1000, "rate": 0.02}, 0.8, 1.1),
        ("ead", "l1", {"steps": 300, "searches": 9, "rate": 0.05, "beta": 0.001}, 0.9, 1.2),
    ],
)
def test_smallest_changes_are_near_the_grids_and_never_below(
    name: str, norm: str, settings: dict[str, object], share: float, within: float
) -> None:
    smallest = truth(norm)[2]
    step = 2.0 / SIDE
    d = run(name, norm, INF, **settings).outcome.distance
    assert (d >= smallest - step).all(), "nothing can beat the grid by more than its step"
    good = float((d <= smallest * within + step).float().mean())
    assert good >= share, f"{good:.2f} of rows within {within}"
