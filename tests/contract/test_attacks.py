"""The contract that every registered attack faces, on worlds whose answer is known in closed form."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from worlds import CASES, COUNTED, GRADIENTS, OPTIMISERS, PLACED, SHAPE, Halfspace, World, besiege, rows, small, world

from vauban.attacks import ATTACKS
from vauban.doors import Oracle
from vauban.errors import NotGranted
from vauban.target import Own, Torch
from vauban.threat import INF, Access, Ball, Goal, Threat

every = pytest.mark.parametrize(("name", "kind"), CASES)
optimiser = pytest.mark.parametrize(("name", "kind"), OPTIMISERS)
by_gradient = pytest.mark.parametrize(("name", "kind"), GRADIENTS)


@optimiser
def test_finds_what_exists(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    r = besiege(w, attack, w.threat(attack, 1.6)).outcome
    assert r.broken.all()


@every
def test_never_beats_the_geometry_and_stays_legal(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    t = w.threat(attack, 1.6)
    o = besiege(w, attack, t)
    r = o.outcome
    won = r.broken
    assert (r.distance[won] <= t.perturbation.eps).all(), "what is kept passes without any tolerance"
    assert r.best.min() >= 0
    assert r.best.max() <= 1
    assert (w.target.scores(r.best[won]).argmax(1) == 1).all()
    if kind != "transformations":
        assert (r.distance[r.nearest] >= w.optimum[r.nearest] * (1 - 1e-6) - 1e-7).all(), "nothing can beat the geometry"
        assert torch.allclose(o.ball.distance(w.x[won], r.best[won]), r.distance[won], atol=0)


@pytest.mark.parametrize(("name", "kind"), [c for c in OPTIMISERS if ATTACKS[c[0]].facts.minimal])
def test_a_minimum_norm_attack_comes_near_the_smallest_change(name: str, kind: str) -> None:
    w, attack = world(kind), ATTACKS[name].bind()
    r = besiege(w, attack, w.threat(attack, 1.6), settle="nearest").outcome
    assert (r.distance <= w.optimum * (1 if kind in COUNTED else 1.25) + (2 if kind in COUNTED else 0)).all()


@every
def test_finds_nothing_where_nothing_is(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    if kind in COUNTED:
        w = dataclasses.replace(w, x=w.x[4:], y=w.y[4:], optimum=w.optimum[4:])
    assert not besiege(w, attack, w.threat(attack, 0.6)).outcome.broken.any()


@every
def test_a_row_does_not_feel_its_batch(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    t = w.threat(attack, 1.6)
    r = besiege(w, attack, t).outcome
    for i in [3, 0, 4]:
        one = dataclasses.replace(w, x=w.x[i : i + 1], y=w.y[i : i + 1])
        alone = besiege(one, attack, t, ids=torch.tensor([i]), max_rows=1).outcome
        assert alone.broken[0] == r.broken[i]
        assert alone.queries[0] == r.queries[i]
        assert alone.first[0] == r.first[i]
        assert torch.allclose(alone.distance[0], r.distance[i], rtol=1e-4, atol=1e-6)


@every
def test_order_and_chunks_change_nothing(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    t, order = w.threat(attack, 1.6), torch.tensor([2, 4, 0, 3, 1])
    r = besiege(w, attack, t).outcome
    shuffled = dataclasses.replace(w, x=w.x[order], y=w.y[order])
    s = besiege(shuffled, attack, t, ids=order, max_rows=2).outcome
    assert torch.equal(s.broken, r.broken[order])
    assert torch.equal(s.queries, r.queries[order])
    assert torch.allclose(s.distance, r.distance[order], rtol=1e-4, atol=1e-6)


@every
@pytest.mark.parametrize("budget", [0, 1, 2, 3, 7])
def test_never_overspends(name: str, kind: str, budget: int) -> None:
    w, attack = world(kind), small(name)
    asked: list[int] = []
    scores = w.target.model.forward
    own = {"surrogate": Own(world(kind).target)} if attack.facts.prior else {}
    own |= {"samples": rows(3, tuple(w.x.shape[1:]))} if attack.facts.samples else {}
    o = Oracle(w.target, w.x, w.y, w.threat(attack, 0.6, queries=budget, gradients=2 * budget), **own)
    w.target.model.forward = lambda x: (asked.append(len(x)), scores(x))[1]  # type: ignore[method-assign]
    attack(o)
    assert (o.outcome.queries <= budget).all()
    assert (o.outcome.gradients <= 2 * budget).all()
    free = int(o.outcome.gradients.sum()) if "transfer" in ATTACKS[name].__module__ else 0  # a changed view of the model is run beside it
    assert int(o.outcome.queries.sum()) <= sum(asked) <= int(o.outcome.queries.sum()) + free, "every forward pass is charged to its row"


@every
def test_its_share_of_the_budget_is_kept(name: str, kind: str) -> None:
    w, attack = world(kind), small(name).spending(3)
    o = besiege(w, attack, w.threat(attack, 0.6, queries=5))
    attack(o)
    assert (o.outcome.queries <= 5).all()
    assert (o.book.attempts[1].start <= 3).all()


@every
def test_needs_no_more_access_than_it_declares(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    besiege(w, attack, w.threat(attack, 1.6))
    if attack.facts.access > Access.NONE:
        with pytest.raises(NotGranted):
            besiege(w, attack, w.threat(attack, 1.6, access=Access(attack.facts.access - 1)))


@optimiser
@pytest.mark.parametrize(
    "goal", [Goal(wanted=1), Goal.directional(0, 1), Goal(wanted=(1, 1, 1, 1, 1))], ids=["wanted", "directional", "each"]
)
def test_goals_are_met_as_stated(name: str, kind: str, goal: Goal) -> None:
    w, attack = world(kind), small(name)
    o = besiege(w, attack, w.threat(attack, 1.6, goal=goal))
    assert o.outcome.broken.all()
    assert (w.target.scores(o.outcome.best).argmax(1) == 1).all()


@every
def test_a_goal_out_of_reach_is_not_met_by_any_other_error(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    assert not besiege(w, attack, w.threat(attack, 1.6, goal=Goal(wanted=2))).outcome.broken.any()


@every
@pytest.mark.parametrize(("shape", "classes", "n"), [((36,), 3, 5), ((1, 6, 6), 2, 5), ((1, 6, 6), 3, 1), ((4, 9), 2, 1)])
def test_two_classes_flat_vectors_and_single_inputs_work(name: str, kind: str, shape: tuple[int, ...], classes: int, n: int) -> None:
    attack = small(name)
    if kind == "transformations" or ((attack.facts.images or kind in PLACED) and len(shape) != 3):
        pytest.skip("an attack on images")
    w = world(kind, n, shape, classes)
    r = besiege(w, attack, w.threat(attack, 1.6)).outcome
    assert r.broken.all() or attack.facts.baseline


@every
def test_not_a_number_never_wins(name: str, kind: str) -> None:
    attack = small(name)

    class Poisoned(torch.nn.Module):
        """Answers NaN wherever the input was touched."""

        def __init__(self, inner: torch.nn.Module, clean: torch.Tensor) -> None:
            super().__init__()
            self.inner, self.clean = inner, clean

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.inner(x)
            touched = (x.flatten(1)[:, None] - self.clean.flatten(1)[None]).abs().amax(-1).amin(1) > 1e-9
            return torch.where(touched[:, None] & torch.tensor([False, True, True]), torch.nan, z)

    w = world(kind)
    poisoned = World(Torch(Poisoned(w.target.model, w.x), outputs="logits"), w.x, w.y, kind, w.optimum)
    o = besiege(poisoned, attack, w.threat(attack, 1.6))
    assert not o.outcome.broken.any()
    assert torch.isfinite(o.outcome.best).all()


@every
def test_settles_when_nothing_is_left(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    wrong = dataclasses.replace(w, y=torch.ones_like(w.y))
    o = besiege(wrong, attack, w.threat(attack, 1.6))
    assert o.outcome.broken.all()
    assert (o.outcome.distance == 0).all()
    assert (o.outcome.queries == 0).all(), "rows that err already are never attacked"


@by_gradient
def test_gradients_may_come_from_a_model_of_the_attackers_own(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    o = besiege(w, attack, w.threat(attack, 1.6), surrogate=Own(w.target))
    assert o.outcome.broken.all()
    assert (o.outcome.gradients == 0).all(), "the target gave no gradient"


@by_gradient
def test_an_attacker_with_only_a_model_of_its_own_hands_its_ends_in(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    o = besiege(w, attack, w.threat(attack, 1.6, access=Access.LABEL), surrogate=Own(w.target))
    assert o.outcome.broken.all()


@every
def test_the_target_is_left_as_it_was(name: str, kind: str) -> None:
    w, attack = world(kind), small(name)
    w.target.model.train()
    before = {k: v.clone() for k, v in w.target.model.state_dict().items()}
    besiege(w, attack, w.threat(attack, 1.6))
    assert w.target.model.training
    assert all(p.requires_grad and p.grad is None for p in w.target.model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in w.target.model.state_dict().items())


def test_the_contract_notices_a_batch_wide_norm() -> None:
    """Break it once: a PGD that divides by a norm over the whole batch must fail the batch test."""
    model = Halfspace()
    x, y = rows()
    optimum = model.smallest(x, 2.0)
    t = Threat("t", Ball(float(optimum.max()) * 1.6, "l2"))

    def coupled(o: Oracle) -> torch.Tensor:
        with o.attacking("coupled", Access.GRADIENT):
            s = o.rows(x=o.x)
            for _ in o.steps(12):
                _, g = o.ascend(s.x)
                s.x = o.project(s.x + 0.3 * o.eps * g / g.norm())
            o.submit(s.x)
        return o.outcome.queries

    together = coupled(Oracle(Torch(model), x, y, t))
    alone = torch.cat([coupled(Oracle(Torch(model), x[i : i + 1], y[i : i + 1], t, ids=torch.tensor([i]))) for i in range(len(x))])
    assert not torch.equal(together, alone)


def test_smallest_changes_by_brute_force() -> None:
    """The closed forms that the contract stands on, against exhaustive search on three features."""
    model = Halfspace((3,), 2)
    x = torch.full((1, 3), 0.35)
    axis = torch.linspace(0, 1, 81)
    grid = torch.cartesian_prod(axis, axis, axis)
    won = grid[model(grid).argmax(1) == 1]
    d = (won - x).double()
    sizes = {INF: d.abs().amax(1), 2.0: d.norm(dim=1), 1.0: d.abs().sum(1), 0.0: (d.abs() > 1e-6).sum(1).double()}
    for p, size in sizes.items():
        assert math.isclose(float(size.min()), float(model.smallest(x, p)[0]), abs_tol=0.03 if p else 0), p
    assert SHAPE == (1, 6, 6)
    small = Halfspace((1, 2, 2), 2)
    x, ends = torch.full((1, 1, 2, 2), 0.35), torch.cartesian_prod(*[torch.tensor([0.35, 1.0])] * 4).view(-1, 1, 2, 2)
    won = ends[small(ends).argmax(1) == 1]
    assert float(small.fewest_pixels(x)[0]) == float((won != x).flatten(1).sum(1).min())
    one = (won != x).flatten(1).sum(1) == 1
    assert float(small.smallest_patch(x)[0]) == (1 if one.any() else 2)
