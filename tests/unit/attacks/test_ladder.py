"""The ladder: which rungs an attacker without the model has, and that its budget is shared and kept."""

from __future__ import annotations

import pytest
import torch
from worlds import Halfspace, rows

from vauban.attacks.suites import suite
from vauban.doors import Oracle
from vauban.target import Own, Torch, restrict
from vauban.threat import INF, Access, Ball, Threat

SHAPE = (1, 6, 6)


def threat(access: Access, kind: str = "linf", queries: float = INF, eps: float = 0.3) -> Threat:
    return Threat("t", Ball(eps, kind), access=access, queries=queries)


def names(access: Access, kind: str = "linf", own: bool = False, queries: float = INF) -> list[str]:
    return [a.name for a in suite("vauban", threat(access, kind, queries), SHAPE, Access.GRADIENT if own else access)]


def test_the_rungs_come_cheapest_first() -> None:
    found = names(Access.SCORE, own=True)
    order = ["uniform-noise", "mi-fgsm", "square-transfer", "signhunter", "square", "rays"]
    assert [n for n in found if n in order] == order


def test_without_a_surrogate_nothing_needs_one() -> None:
    for access in (Access.NONE, Access.LABEL, Access.SCORE):
        found = suite("vauban", threat(access), SHAPE)
        assert all(a.facts.access <= access and not a.facts.prior for a in found)


def test_each_access_has_its_last_rung() -> None:
    assert not {"square", "rays"} & set(names(Access.NONE, own=True))
    assert "vmi-fgsm" in names(Access.NONE, own=True)
    assert "square" not in names(Access.LABEL)
    assert "rays" in names(Access.LABEL)
    assert {"surfree", "hop-skip-jump"} <= set(names(Access.LABEL, "l2"))
    assert "hop-skip-jump" not in names(Access.LABEL, "l2", queries=200), "a few hundred questions do not pay for estimates"


@pytest.mark.parametrize("kind", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("access", [Access.LABEL, Access.SCORE])
@pytest.mark.parametrize("queries", [1, 7, 60, 400])
def test_the_whole_ladder_keeps_the_budget_of_each_row(kind: str, access: Access, queries: int) -> None:
    x, y = rows()
    allowed = threat(access, kind, queries, 1 if kind == "l0" else 0.001)
    target = Torch(Halfspace(), outputs="logits")
    o = Oracle(restrict(target, access.name.lower()), x, y, allowed, surrogate=Own(target))
    for attack in suite("vauban", allowed, SHAPE, Access.GRADIENT):
        if not attack.facts.proof:
            attack(o)
    assert (o.outcome.queries <= queries).all()
    assert kind == "l0" or not o.outcome.broken.any()
    kinds = torch.stack(list(o.outcome.kinds.values())).sum(0)
    assert torch.equal(kinds, o.outcome.queries)


@pytest.mark.parametrize("kind", ["linf", "l2", "l1"])
@pytest.mark.parametrize("access", [Access.LABEL, Access.SCORE])
def test_it_breaks_what_can_be_broken(kind: str, access: Access) -> None:
    x, y = rows()
    eps = float(Halfspace().smallest(x, {"linf": INF, "l2": 2.0, "l1": 1.0}[kind]).max()) * 1.3
    o = Oracle(restrict(Torch(Halfspace()), access.name.lower()), x, y, threat(access, kind, 2000, eps))
    for attack in suite("vauban", o.threat, SHAPE):
        attack(o)
    assert o.outcome.broken.all()
