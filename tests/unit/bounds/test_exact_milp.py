"""What the solver decides of small ReLU networks is what all their linear pieces, looked at one by one, say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from vauban.bounds import certify
from vauban.bounds.exact import decide
from vauban.errors import BadData, BadPlan, Unsupported
from vauban.target import Torch
from vauban.threat import Ball


def piecewise(seed: int, slope: float = 0.0) -> nn.Sequential:
    """Three features, two layers of bends, three classes; float64."""
    torch.manual_seed(seed)
    bend = nn.LeakyReLU(slope) if slope else nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 3), bend, nn.Linear(3, 3), bend, nn.Linear(3, 3)).double()
    for p in model.parameters():
        nn.init.normal_(p)
    return model.eval()


def balanced(model: nn.Module, x: Tensor) -> Tensor:
    """Make all classes about as likely around the rows x, and say which is whose."""
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.bias -= model(x).mean(0)
        return model(x).argmax(1)


def greatest(model: nn.Sequential, x: Tensor, y: int, t: int, eps: float, slope: float) -> float:
    """The greatest lead of class t over class y in the box: the best over all patterns of units that are on, each a linear program."""
    layers = [m for m in model if isinstance(m, nn.Linear)]
    weights = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in layers]
    box = [(max(v - eps, 0), min(v + eps, 1)) for v in x.tolist()]
    best = -np.inf
    for pattern in itertools.product((0, 1), repeat=sum(len(b) for _, b in weights[:-1])):
        a, c, signs, limits, place = np.eye(len(x)), np.zeros(len(x)), [], [], 0
        for w, b in weights[:-1]:
            a, c = w @ a, w @ c + b
            on = np.array(pattern[place : place + len(b)])
            place += len(b)
            side = np.where(on, -1.0, 1.0)[:, None]
            signs.append(side * a)
            limits.append(-side[:, 0] * c)
            keep = np.where(on, 1.0, slope)
            a, c = keep[:, None] * a, keep * c
        w, b = weights[-1]
        a, c = w @ a, w @ c + b
        found = linprog(-(a[t] - a[y]), A_ub=np.concatenate(signs), b_ub=np.concatenate(limits), bounds=box)
        if found.status == 0:
            best = max(best, -found.fun + c[t] - c[y])
    return best


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_the_answer_is_that_of_all_linear_pieces(slope: float) -> None:
    said, known = [], []
    for seed in range(6):
        model = piecewise(seed, slope)
        x = torch.rand(2, 3, dtype=torch.float64)
        y, eps = balanced(model, x), 0.1
        found = decide(Torch(model, outputs="logits"), x, y, Ball(eps))
        for i in range(2):
            lead = max(greatest(model, x[i], int(y[i]), t, eps, slope) for t in range(3) if t != y[i])
            if abs(lead) > 1e-3:
                said.append((bool(found.broken[i]), bool(found.certified[i])))
                known.append((lead > 0, lead < 0))
    assert said == known
    assert {(True, False), (False, True)} == set(known)


BORDER = 12
"""A seed whose row linear bounds cannot prove near the border."""


@pytest.mark.parametrize("ahead", [0.02, -0.02])
def test_the_border_is_found_to_a_hundredth_where_linear_bounds_are_at_a_loss(ahead: float) -> None:
    """A radius a little above and below the one at which the exact greatest lead changes its sign."""
    model = piecewise(BORDER)
    x = torch.rand(1, 3, dtype=torch.float64)
    y = model(x).argmax(1)
    low, high = 0.0, 1.0
    for _ in range(9):
        middle = (low + high) / 2
        lead = max(greatest(model, x[0], int(y), t, middle, 0.0) for t in range(3) if t != int(y))
        low, high = (low, middle) if lead > 0 else (middle, high)
    target, eps = Torch(model, outputs="logits"), high * (1 + ahead)
    found = decide(target, x, y, Ball(eps))
    assert (bool(found.broken[0]), bool(found.certified[0])) == (ahead > 0, ahead < 0)
    assert not certify(target, x, y, Ball(eps)).certified[0]


@pytest.mark.parametrize("name", ["mlp", "leaky", "conv", "avgpool", "residual"])
def test_witnesses_fool_the_model_inside_the_ball_and_no_ascent_breaks_a_proof(build, name: str) -> None:
    model, x = build(name, 3, 3)
    target = Torch(model, outputs="logits")
    y = balanced(model, x)
    seen: set[str] = set()
    for eps in (0.003, 0.2):
        found = decide(target, x, y, Ball(eps), seconds=1)
        assert not (found.broken & found.certified).any()
        assert torch.equal(found.open, ~found.broken & ~found.certified)
        wrong = target.scores(found.witness).argmax(1) != y
        assert torch.equal(wrong, found.broken)
        assert float((found.witness.double() - x.double()).abs().max()) <= eps * (1 + 1e-6)
        assert found.witness.min() >= 0
        assert found.witness.max() <= 1
        proven = found.certified.nonzero()[:, 0]
        g = torch.Generator().manual_seed(0)
        for i in proven.tolist():
            low, high = (x[i] - eps).clamp(0, 1), (x[i] + eps).clamp(0, 1)
            at = low + (high - low) * torch.rand(200, *x.shape[1:], generator=g)
            for _ in range(10):
                leaf = at.requires_grad_()
                z = model(leaf)
                lead = z.scatter(1, y[i].expand(200, 1), -9e9).amax(1) - z[:, y[i]]
                assert (lead <= 0).all()
                (gradient,) = torch.autograd.grad(lead.sum(), leaf)
                at = torch.min(torch.max(at.detach() + eps / 3 * gradient.sign(), low), high)
        seen |= {"broken"} if found.broken.any() else set()
        seen |= {"certified"} if found.certified.any() else set()
    assert seen == {"broken", "certified"}


def needle() -> nn.Sequential:
    """Class 1 within a tenth of x = 0.8 alone; everywhere else nothing changes, so that no gradient leads there."""
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    values = ([[10.0], [10.0], [10.0]], [-7.0, -8.0, -9.0], [[0.0, 0.0, 0.0], [1.0, -2.0, 1.0]], [0.5, 0.0])
    for p, v in zip(model.parameters(), values, strict=True):
        p.data.copy_(torch.tensor(v))
    return model


def test_a_needle_that_no_gradient_points_to_is_found_and_its_absence_is_proven() -> None:
    target, x, y = Torch(needle(), outputs="logits"), torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([0])
    found = decide(target, x, y, Ball(0.3))
    assert found.broken.all()
    assert 0.75 < float(found.witness) <= 0.8
    assert decide(target, x, y, Ball(0.24)).certified.all()
    assert not decide(target, x, y, Ball(0.255)).certified.any(), "at 0.75 the two classes tie"


def test_a_row_that_is_wrong_as_it_is_is_its_own_witness() -> None:
    model = piecewise(2)
    x = torch.rand(1, 3, dtype=torch.float64)
    found = decide(Torch(model, outputs="logits"), x, (model(x).argmax(1) + 1) % 3, Ball(0.01))
    assert found.broken.all()
    assert torch.equal(found.witness, x)


def test_only_the_rivals_named_are_searched_and_only_classes_that_win_count() -> None:
    model, x, y = needle(), torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([0])
    three = nn.Sequential(*model, nn.Linear(2, 3)).double()
    three[-1].weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]))
    three[-1].bias.data.copy_(torch.tensor([0.0, 0.0, -0.11]))  # class 2 comes near, and never wins
    target = Torch(three, outputs="logits")
    both = decide(target, x, y, Ball(0.3))
    assert both.broken.all()
    other = decide(target, x, y, Ball(0.3), rivals=torch.tensor([[2]]))
    assert other.open.all(), "class 1 was never looked at"
    assert decide(target, x, y, Ball(0.3), wins=torch.tensor([[False, False, True]]), rivals=torch.tensor([[2]])).certified.all()


def test_what_there_is_no_time_for_stays_open() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 3))
    x = torch.rand(1, 20)
    y = model(x).argmax(1)
    found = decide(Torch(model, outputs="logits"), x, y, Ball(0.4), seconds=1e-3)
    assert found.open.all() or found.broken.all()
    assert not found.certified.any()


def test_what_cannot_be_decided_is_refused_with_a_reason() -> None:
    x, y = torch.rand(1, 3), torch.tensor([0])
    smooth = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))
    for p in smooth.parameters():
        nn.init.normal_(p, std=5.0)
    with torch.no_grad():
        y = smooth(x).argmax(1)
    with pytest.raises(Unsupported, match="Curve"):
        decide(Torch(smooth, outputs="logits"), x, y, Ball(0.9))
    with pytest.raises(BadPlan, match="l2 ball is not a box"):
        decide(Torch(smooth, outputs="logits"), x, y, Ball(0.1, "l2"))
    with pytest.raises(BadPlan, match="seconds = 0"):
        decide(Torch(smooth, outputs="logits"), x, y, Ball(0.1), seconds=0)
    with pytest.raises(BadData, match="y must be"):
        decide(Torch(smooth, outputs="logits"), x, y + 7, Ball(0.1))
