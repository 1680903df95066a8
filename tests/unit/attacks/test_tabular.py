"""CAPGD and MOEVA on constructed tables: only valid rows count, and they find them where attacks that know no constraints find none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS, Attack, capgd, leaf_tuple, moeva
from vauban.attacks.suites import suite
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan
from vauban.target import Own, Sklearn, Torch, Trees
from vauban.threat import Access, Ball, Feature, Features, Threat

torch.set_num_threads(1)
COLUMNS = (
    Feature("open", 0, 20, "integer"),
    Feature("closed", 0, 20, "integer"),
    Feature("total", 0, 40, "integer"),
    Feature("income", 0, 100_000),
    Feature("rent", 0, 100_000),
    Feature("late", 0, 12, "integer", "up"),
    Feature("city", kind="category", group="home"),
    Feature("land", kind="category", group="home"),
)
RELATIONS = ("total == open + closed", "rent <= 0.5 * income")
TOP = torch.tensor([20, 20, 40, 1e5, 1e5, 12, 1, 1])


class Score(nn.Module):
    """A linear score of scaled features; class 1 above 0."""

    def __init__(self, *weights: float, bias: float) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.tensor(weights)), nn.Parameter(torch.tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        z = (x / TOP) @ self.w + self.b
        return torch.stack([-z, z], 1) * 5


def table(n: int = 40) -> Tensor:
    g = torch.Generator().manual_seed(0)
    some, closed = torch.randint(3, 9, (n,), generator=g), torch.randint(3, 9, (n,), generator=g)
    income = torch.rand(n, generator=g) * 50_000 + 30_000
    home = nn.functional.one_hot(torch.randint(2, (n,), generator=g), 2)
    columns = [some, closed, some + closed, income, income * 0.3, torch.randint(0, 4, (n,), generator=g)]
    return torch.cat([torch.stack([c.float() for c in columns], 1), home.float()], 1)


def attacked(attack: Attack, model: nn.Module, eps: float = 0.2, norm: str = "linf", relations: tuple[str, ...] = RELATIONS) -> Oracle:
    x = table()
    y = model(x).argmax(1)
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Features(COLUMNS, eps, norm, relations), access=attack.facts.access))
    attack(o)
    return o


def legal(x: Tensor, clean: Tensor, relations: tuple[str, ...] = RELATIONS) -> Tensor:
    """The constraints by hand, in float64."""
    x, c = x.double(), clean.double()
    fine = (x >= 0).all(1) & (x <= TOP.double()).all(1) & (x[:, [0, 1, 2, 5, 6, 7]] % 1 == 0).all(1)
    fine &= (x[:, 5] >= c[:, 5]) & (x[:, 6] + x[:, 7] == 1)
    if relations:
        fine &= (x[:, 2] == x[:, 0] + x[:, 1]) & (x[:, 4] <= 0.5 * x[:, 3] * (1 + 1e-6))
    return fine


RISK = (1.0, 1.0, 0.0, -1.5, 0.5, 0.5, 0.3, 0.0)


def test_what_a_model_of_the_attackers_own_finds_is_handed_in_repaired() -> None:
    model, x = Score(*RISK, bias=0.0), table()
    y = model(x).argmax(1)
    own = Own(Torch(model, outputs="logits"))
    threat = Threat("t", Features(COLUMNS, 0.3, "linf", RELATIONS), access=Access.LABEL)
    o = Oracle(Torch(model, outputs="logits"), x, y, threat, surrogate=own)
    capgd(o)
    found = o.outcome
    assert found.broken[y == 0].float().mean() > 0.9
    assert legal(found.best[found.broken], x[found.broken]).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("attack", [capgd(), moeva(steps=40)], ids=["capgd", "moeva"])
def test_what_counts_is_valid_misclassified_and_near(attack: Attack, norm: str) -> None:
    model = Score(*RISK, bias=0.0)
    o = attacked(attack, model, 3 if norm == "l0" else 0.3, norm)
    r, x = o.outcome, table()
    won = r.broken & r.correct
    assert won.any()
    assert legal(r.best[won], x[won]).all()
    assert (model(r.best[won]).argmax(1) != model(x[won]).argmax(1)).all()
    p = {"linf": float("inf"), "l2": 2, "l1": 1, "l0": 0}[norm]
    d = torch.linalg.vector_norm((r.best - x).double() / TOP.double(), ord=p, dim=1)
    assert torch.allclose(d[won], r.distance[won], rtol=1e-9)
    assert (d[won] <= (3 if norm == "l0" else 0.3)).all()


@pytest.mark.parametrize("attack", [capgd(steps=20), moeva()], ids=["capgd", "moeva"])
def test_both_reach_what_a_constrained_optimum_allows(attack: Attack) -> None:
    """Under L-infinity the best legal change is known: open and closed by 4 each, income down and rent up as far as the rule between them allows."""
    x = table()
    score = Score(*RISK, bias=-0.4)
    y = score(x).argmax(1)
    low = y == 0
    best = x.clone()
    best[:, 0], best[:, 1], best[:, 5] = x[:, 0] + 4, x[:, 1] + 4, (x[:, 5] + 2)
    best[:, 2] = best[:, 0] + best[:, 1]
    best[:, 3] = x[:, 3] - 20_000
    best[:, 4] = torch.minimum(x[:, 4] + 20_000, best[:, 3] / 2)
    can = (score(best).argmax(1) == 1) & low
    o = attacked(attack, score)
    found = o.outcome.broken & low
    assert can.sum() >= 5
    assert not (found & ~can).any(), "nobody finds what is not there (a category costs 1, more than eps)"
    assert (found & can).sum() >= 0.8 * can.sum()


def test_an_attack_that_knows_no_constraints_finds_only_what_is_invalid_and_capgd_finds_what_is_valid() -> None:
    """The score pays for totals that are not the sum, and fractions of loans: plain PGD takes them all."""
    model = Score(0.6, 0.6, 2.0, -0.2, 0.0, 0.0, 0.0, 0.0, bias=-1.0)
    x = table()
    y = model(x).argmax(1)
    x, y = x[y == 0], y[y == 0]
    target = Torch(model, outputs="logits")
    allowed = Features(COLUMNS, 0.25, "linf", RELATIONS)
    plain = Oracle(target, x, y, Threat("t", allowed))
    start = x + plain.ball.steepest((model.w.detach() / TOP).expand_as(x), 0.249)
    start[:, 5:] = x[:, 5:]
    with plain.attacking("unconstrained", Access.GRADIENT):
        plain.submit(start)
    assert (model(start).argmax(1) == 1).double().mean() > 0.3, "it fools the model often enough"
    assert not plain.outcome.broken.any(), "and nothing of it counts"
    o = Oracle(target, x, y, Threat("t", allowed))
    capgd()(o)
    assert o.outcome.broken.any()
    assert legal(o.outcome.best, x).all()


def test_a_relation_that_binds_makes_rows_safe_that_would_fall_without_it() -> None:
    """Rent falls beyond 18,000. Without the rule that takes an income above 43,300 (0.3 of it, and 5,000 more), with it one above 46,400."""
    model = Score(0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, bias=-0.54)
    rule = "rent <= 0.35 * income"
    free, bound = (attacked(capgd(steps=20), model, 0.05, relations=r).outcome.broken for r in ((), (rule,)))
    income = table()[:, 3]
    low = income < 60_000  # the others are on the far side already
    assert torch.equal(free[low], (income > 43_333)[low])
    assert torch.equal(bound[low], (income > 46_429)[low])
    assert free[low].sum() > bound[low].sum()


def test_rows_that_break_a_relation_before_any_attack_are_an_error_with_their_number() -> None:
    x = table()
    x[3, 4] = x[3, 3]
    with pytest.raises(BadData, match=r"row 3 breaks the relation 'rent <= 0\.5"):
        Oracle(
            Torch(Score(*RISK, bias=0.0)), x, torch.zeros(40, dtype=torch.int64), Threat("t", Features(COLUMNS, 0.2, relations=RELATIONS))
        )


def test_attacks_on_tables_need_constraints() -> None:
    with pytest.raises(BadPlan, match="works on features"):
        capgd().check(Threat("t", Ball(0.1)))


def test_the_default_suite_on_tables_is_gradients_and_then_the_genetic_search() -> None:
    allowed = Features(COLUMNS, 0.2, "l2")
    names = [a.name for a in suite("vauban", Threat("t", allowed), (8,))]
    assert names == ["capgd", "moeva"]
    assert [a.name for a in suite("vauban", Threat("t", allowed, access=Access.SCORE), (8,))] == ["moeva"]
    assert [a.name for a in suite("vauban", Threat("t", allowed), (8,), trees=True)] == ["leaf-tuple", "capgd", "moeva"]


def test_every_attack_on_features_is_run_here() -> None:
    on = {n for n, r in ATTACKS.items() if "features" in r.facts.on}
    assert on == {"capgd", "moeva", "tree-exact", "leaf-tuple"}


def test_forests_fall_to_the_genetic_search_by_scores_alone_and_to_an_insider() -> None:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestClassifier

    x = table(300)
    y = Score(*RISK, bias=0.0)(x).argmax(1)
    model: Any = RandomForestClassifier(20, max_depth=5, random_state=0).fit(x.numpy().astype(np.float64), y.numpy())
    allowed, some = Features(COLUMNS, 0.3, "l2", RELATIONS), slice(0, 12)
    fell: dict[str, Tensor] = {}
    for attack, target in ((moeva(steps=30), Sklearn(model)), (leaf_tuple(starts=2), Trees(model)), (capgd(), Trees(model))):
        o = Oracle(target, x[some], y[some], Threat("t", allowed, access=target.access))
        attack(o)
        won = o.outcome.broken & o.outcome.correct
        assert legal(o.outcome.best[won], x[some][won]).all()
        assert (model.predict(o.outcome.best[won].numpy().astype(np.float64)) != y[some][won].numpy()).all()
        fell[attack.name] = won
    assert all(w.any() for w in fell.values())
