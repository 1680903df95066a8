"""A budget with which nothing can be tried is refused in one sentence; one that ends attacks before their first step is doubted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import find
from vauban.campaign.plan import Siege
from vauban.errors import BadPlan
from vauban.target import Own, Torch
from vauban.threat import Access, Ball, Threat


def line() -> tuple[Torch, Tensor, Tensor]:
    """One feature, the boundary at a half, 40 rows on its left."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    x = torch.linspace(0.1, 0.45, 40)[:, None]
    return Torch(model, outputs="logits"), x, torch.zeros(40, dtype=torch.long)


def threat(access: Access = Access.GRADIENT, queries: float = math.inf, gradients: float = math.inf) -> Threat:
    return Threat("t", Ball(0.2), access, queries=queries, gradients=gradients)


@pytest.mark.parametrize("attacks", [["pgd"], ["square"], ["uniform-noise"], None])
@pytest.mark.parametrize("access", [Access.SCORE, Access.GRADIENT])
def test_no_query_at_all_is_refused(access: Access, attacks: list[str] | None) -> None:
    with pytest.raises(BadPlan, match=r"threat 't': queries = 0 lets no input be answered.*give at least 1"):
        vauban.audit(*line(), threat(access, queries=0), attacks=attacks)


@pytest.mark.parametrize("attacks", [["pgd"], ["uniform-noise", "apgd"], None])
def test_no_gradient_for_an_attack_that_takes_them_is_refused(attacks: list[str] | None) -> None:
    with pytest.raises(BadPlan, match=r"threat 't': gradients = 0, and attack '(pgd|apgd|fgsm)' takes gradients.*give at least 1"):
        vauban.audit(*line(), threat(gradients=0), attacks=attacks)


def test_no_query_for_one_attack_is_refused() -> None:
    with pytest.raises(BadPlan, match="attack 'square': queries = 0 lets it ask nothing"):
        vauban.audit(*line(), threat(), attacks=["pgd", find("square").bind().spending(0)])


def test_what_takes_no_gradients_of_the_target_needs_none() -> None:
    target, x, y = line()
    assert vauban.audit(target, x, y, threat(gradients=0), attacks=["square"])["t"].robust.hits < 40
    assert vauban.audit(target, x, y, threat(gradients=0), attacks=["pgd"], surrogate=Own(target))["t"].robust.hits < 40


def test_a_proof_needs_no_query() -> None:
    Siege(threat(queries=0, gradients=0), (find("linear-bounds").bind(),))


@pytest.mark.parametrize(
    ("attacks", "queries", "doubted"),
    [
        (["pgd"], 1, True),
        (["square", "uniform-noise"], 1, True),
        ([find("pgd").bind().spending(1)], math.inf, True),
        ([find("pgd").bind().spending(1), "square"], math.inf, False),
        (["pgd"], 2, False),
        (["uniform-noise"], 1, False),
        (["pgd"], math.inf, False),
    ],
)
def test_a_budget_that_ends_every_attack_before_its_first_step_is_doubted(attacks: list, queries: float, doubted: bool) -> None:
    found = vauban.audit(*line(), threat(queries=queries), attacks=attacks)["t"]
    told = [d.text for d in found.doubts if d.name == "budget-too-small"]
    assert bool(told) == doubted
    assert all("1 query a row is too few for one step of" in text for text in told)


def test_two_questions_are_enough_for_a_step() -> None:
    """The signed gradient of a line leads across the boundary wherever it is in reach."""
    _, x, _ = line()
    found = vauban.audit(*line(), threat(queries=2), attacks=["fgsm"])["t"]
    assert found.robust.hits == int((x < 0.3 - 1e-6).sum())
