"""Attacks that see labels only: where they begin, how they find the boundary and its normal, and how near they come."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spine import Counting, attacking, siege
from torch import Tensor, nn
from worlds import Halfspace, rows

from vauban.attacks import ATTACKS, adba, geoda, hop_skip_jump, rays
from vauban.attacks.parts import probes
from vauban.attacks.parts.blocks import block_size, flipped, following
from vauban.attacks.parts.first_success import first_success, likely_success
from vauban.attacks.parts.probes import around, begin_estimate, directions, enter, estimate, no_sums
from vauban.attacks.parts.segment import rounds, size_of, to_boundary
from vauban.attacks.parts.subspace import Subspace, cosines, hats
from vauban.doors import Oracle, Rows
from vauban.target import Own, Torch
from vauban.threat import INF, Access, Ball, Goal, Threat

NAMES = ["boundary", "hop-skip-jump", "qeba", "rays", "surfree", "geoda", "sign-opt", "adba", "sign-flip"]


class Stripes(nn.Module):
    """A half-space whose normal goes up on some quarters of the features and down on the others."""

    def __init__(self, *signs: int, features: int = 36) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(5)
        self.w = (torch.rand(features, generator=g) + 0.5) * torch.tensor(signs).repeat_interleave(features // len(signs))

    def forward(self, x: Tensor) -> Tensor:
        z = (x.flatten(1) - 0.5) @ self.w - 1
        return torch.stack([-z, z], 1)


def labels_only(model: nn.Module | None = None, norm: float = 2.0, **options: object) -> Oracle:
    threat = {"access": Access.LABEL, **options.pop("threat", {})}  # type: ignore[dict-item]
    return siege(model, Ball(INF, norm), threat=threat, settle="nearest", **options)  # type: ignore[arg-type]


# ---- beginnings ---------------------------------------------------------------------------------------------------------------------


def test_a_row_without_a_first_success_leaves_and_the_others_do_not_feel_it() -> None:
    """The third class is never answered, and wanted of one row alone."""
    o = labels_only(threat={"goal": Goal(wanted=(1, 1, 2, 1, 1))})
    hop_skip_jump.bind(steps=3, starts=16)(o)
    assert o.outcome.nearest.tolist() == [True, True, False, True, True]
    assert int(o.outcome.queries[2]) == 16, "it asked what it may about noise, and no more"
    assert int(o.outcome.kinds["initial"][2]) == 16
    alone = labels_only()
    hop_skip_jump.bind(steps=3, starts=16)(alone)
    others = [0, 1, 3, 4]
    assert torch.equal(o.outcome.distance[others], alone.outcome.distance[others])


def test_an_example_that_is_known_costs_no_question() -> None:
    o = labels_only()
    with attacking(o, Access.LABEL, minimal=True, name="before"):
        o.fooled(torch.ones_like(o.x), torch.tensor([True, True, True, True, False]))
    with attacking(o, Access.LABEL, minimal=True):
        x, found = likely_success(o)
    assert found.tolist() == [True, True, True, True, False]
    assert (x[:4] == 1).all()
    assert o.outcome.queries.tolist() == [1, 1, 1, 1, 0]


def test_the_nearest_sample_of_another_class_comes_before_noise() -> None:
    samples = torch.stack([torch.full((1, 6, 6), v) for v in (0.9, 0.6, 0.4, 0.1)])
    o = labels_only(samples=(samples, torch.tensor([1, 1, 0, 0])))
    with attacking(o, Access.LABEL, minimal=True):
        x = first_success(o, 100)
    assert torch.allclose(x, torch.tensor(0.6))
    assert (o.outcome.queries == 1).all()


def test_a_surrogate_of_the_attackers_own_gives_the_first_candidate() -> None:
    o = labels_only(surrogate=Own(Torch(Halfspace())))
    with attacking(o, Access.LABEL, minimal=True):
        x, found = likely_success(o)
    assert found.all()
    assert (o.outcome.queries <= 3).all()
    assert (o.ball.distance(o.x, x) < 2).all(), "nearer than any noise"


# ---- the way to the boundary --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [INF, 2.0, 1.0])
@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-3])
def test_a_search_ends_on_the_boundary_within_its_tolerance_and_number_of_questions(norm: float, tolerance: float) -> None:
    o = labels_only(norm=norm)
    with attacking(o, Access.LABEL, minimal=True):
        end = torch.lerp(o.x, torch.ones_like(o.x), torch.linspace(0.5, 1, 36).view(1, 6, 6))
        found = to_boundary(o, end, tolerance)
        assert (o.target.scores(found).argmax(1) == 1).all(), "on the side that fools"
        inside = o.x + (found - o.x) * (1 - 2.1 * tolerance * size_of(o, end - o.x) / size_of(o, found - o.x)).view(-1, 1, 1, 1)
        assert (o.target.scores(inside).argmax(1) == 0).all(), "and no farther in than the tolerance"
    assert (o.outcome.kinds["projection"] == rounds(tolerance)).all()


# ---- the normal ---------------------------------------------------------------------------------------------------------------------


def on_the_plane(o: Oracle) -> Tensor:
    model = Halfspace()
    gap = (model.b - o.x.flatten(1) @ model.w).detach()
    return o.x + (gap / model.w.detach().square().sum()).view(-1, 1, 1, 1) * model.w.detach().view(1, 1, 6, 6)


def estimated(o: Oracle, wants: int, space: Subspace | None = None) -> tuple[Tensor, Rows]:
    """An estimate of the normal in as many turns as it takes, and its sums."""
    s, space = o.rows(**no_sums(o)), space or Subspace(o.shape)
    begin_estimate(s, torch.ones(len(o), dtype=torch.bool), torch.full((len(o),), wants))
    at, everyone = on_the_plane(o), torch.arange(len(o))
    while int(s.wants.max()) > 0:
        cloud = around(o, s, everyone, at, torch.full((len(o),), 0.01), directions(o, s, everyone, space))
        v = cloud.v.view(*cloud.v.shape[:2], *o.shape).transpose(0, 1)
        won = o.fooled(v, cloud.wanted.T, kind="gradient")
        enter(s, cloud, won.T, o.answered.T)
    return estimate(o, s), s


def test_the_estimate_is_the_normal_in_the_end() -> None:
    """For n Gaussian probes in d dimensions the expected cosine is about 1 / sqrt(1 + (pi / 2 - 1 + ...) d / n): 0.98 here."""
    o = labels_only()
    with attacking(o, Access.LABEL, minimal=True):
        v, _ = estimated(o, 2000)
    normal = Halfspace().w.detach() / Halfspace().w.detach().norm()
    assert torch.allclose(v.flatten(1).norm(dim=1), torch.ones(5), atol=1e-5)
    assert (v.flatten(1) @ normal > 0.97).all()


def test_the_estimate_in_a_subspace_is_the_normals_part_in_it() -> None:
    o = labels_only()
    space = Subspace.of("dct", o.x, 2)
    with attacking(o, Access.LABEL, minimal=True):
        v, _ = estimated(o, 1000, space)
    basis = cosines(6, 3)
    part = basis @ (basis.T @ Halfspace().w.detach().view(6, 6) @ basis) @ basis.T
    assert (v.flatten(1) @ (part / part.norm()).flatten() > 0.98).all()


def test_an_estimate_cut_short_by_the_budget_is_that_of_the_probes_answered() -> None:
    short, exact = labels_only(threat={"queries": 33}), labels_only()
    with attacking(short, Access.LABEL, minimal=True):
        cut, sums = estimated(short, 100)
    with attacking(exact, Access.LABEL, minimal=True):
        whole, _ = estimated(exact, 33)
    assert (sums.heard == 33).all()
    assert torch.equal(cut, whole)
    assert (short.outcome.queries == 33).all()


def test_probes_that_got_no_answer_are_in_no_sum() -> None:
    o = labels_only()
    with attacking(o, Access.LABEL, minimal=True):
        s, everyone = o.rows(**no_sums(o)), torch.arange(5)
        begin_estimate(s, torch.ones(5, dtype=torch.bool), torch.full((5,), 20))
        cloud = around(o, s, everyone, on_the_plane(o), torch.full((5,), 0.01), directions(o, s, everyone, Subspace(o.shape)))
        g = torch.Generator().manual_seed(0)
        won, answered = (torch.rand(5, 20, generator=g) < share for share in (0.5, 0.7))
        enter(s, cloud, won & answered, answered)
        found = estimate(o, s)
    for i in range(5):
        u, phi = cloud.u[i][answered[i]].double(), won[i][answered[i]].double() * 2 - 1
        expected = (phi[:, None] * u).mean(0) - phi.mean() * u.mean(0)
        assert torch.allclose(found[i].flatten().double(), expected / expected.norm(), atol=1e-5)


def test_how_many_probes_share_a_turn_changes_nothing_but_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    o = labels_only()
    with attacking(o, Access.LABEL, minimal=True):
        together, _ = estimated(o, 95)
    monkeypatch.setattr(probes, "ROOM", 5 * 36 * 20)
    model = Counting()
    o = labels_only(model)
    with attacking(o, Access.LABEL, minimal=True):
        apart, _ = estimated(o, 95)
    assert torch.equal(together, apart)
    assert model.calls == 5, "20 probes of each row at a time"


@given(seed=st.integers(0, 100), kind=st.sampled_from(["dct", "bilinear"]), reduction=st.sampled_from([2.0, 3.0, 4.0]))
def test_a_subspace_keeps_lengths(seed: int, kind: str, reduction: float) -> None:
    space = Subspace.of(kind, torch.zeros(1, 3, 12, 8), reduction)  # type: ignore[arg-type]
    z = torch.randn(2, *space.coefficients, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(space.lift(z).flatten(1).norm(dim=1), z.flatten(1).norm(dim=1), rtol=1e-4)


def test_interpolation_is_in_the_span_of_its_basis() -> None:
    up = torch.nn.functional.interpolate(torch.randn(1, 1, 4), size=13, mode="linear", align_corners=False)[0, 0]
    basis = hats(13, 4)
    assert torch.allclose(basis @ (basis.T @ up), up, atol=1e-5)


# ---- signs --------------------------------------------------------------------------------------------------------------------------


@given(features=st.integers(1, 40))
def test_the_blocks_of_every_level_turn_every_feature_once(features: int) -> None:
    level, block, seen, around_once = torch.tensor([0]), torch.tensor([0]), {}, False
    while not around_once:
        signs = flipped(torch.ones(1, features), level, block)
        seen.setdefault(int(level), []).append(signs < 0)
        level, block, over = following(features, level, block)
        around_once = bool(over)
    assert all(torch.stack(masks).sum(0).eq(1).all() for masks in seen.values())
    assert int(block_size(features, torch.tensor([max(seen)]))) == 1


@pytest.mark.parametrize("name", ["rays", "adba"])
@pytest.mark.parametrize("signs", [(1, 1, 1, 1), (-1, 1, 1, -1), (1, -1, 1, -1)])
def test_a_search_over_signs_finds_the_nearest_corner_of_a_linear_model(name: str, signs: tuple[int, ...]) -> None:
    model = Stripes(*signs)
    x = torch.full((3, 1, 6, 6), 0.5)
    o = labels_only(model, INF, x=x, y=torch.zeros(3, dtype=torch.long))
    ATTACKS[name].bind(queries=600)(o)
    best = 1 / float(model.w.abs().sum())
    assert (o.outcome.distance >= best * (1 - 1e-5)).all()
    assert (o.outcome.distance <= best + 2.1e-3).all(), "two searches of 1e-3"


# ---- the attacks --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "within"), [(2.0, 1.03), (INF, 1.03)])
def test_hop_skip_jump_comes_near_the_closest_point_of_a_half_space(norm: float, within: float) -> None:
    o = labels_only(norm=norm, threat={"queries": 2000})
    hop_skip_jump.bind()(o)
    optimum = Halfspace().smallest(rows()[0], norm)
    assert (o.outcome.distance <= optimum * within).all()
    assert (o.outcome.distance >= optimum * (1 - 1e-6)).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_entered_under_its_kind_and_the_budget_is_used(name: str) -> None:
    """By a row that does not converge before."""
    norm = ATTACKS[name].facts.on[0]
    x, y = rows()
    budget = 150 if name not in ("rays", "adba") else 50
    o = Oracle(Torch(Halfspace()), x, y, Threat("t", Ball(INF, norm), access=Access.LABEL, queries=budget), settle="nearest")
    ATTACKS[name].bind()(o)
    kinds = o.outcome.kinds
    assert torch.equal(sum(kinds.values(), torch.zeros_like(o.outcome.queries)), o.outcome.queries)
    assert (o.outcome.queries >= budget * 0.7).all()
    assert (kinds["step"] > 0).all()
    assert (kinds["check"] == 0).all()
    assert (kinds["initial"] + kinds["projection"] > 0).all()


def test_hop_skip_jump_stays_on_the_boundary_it_projects_to() -> None:
    """What it keeps was searched for: the point just inside does not fool."""
    o = labels_only(threat={"queries": 500})
    hop_skip_jump.bind()(o)
    r = o.outcome
    inside = o._x + (r.best - o._x) * 0.99
    assert (o.target.scores(inside).argmax(1) == 0).all()


def test_rows_in_different_phases_share_calls() -> None:
    """Sixteen rows take hardly more calls than the one that takes most."""

    def calls(x: Tensor) -> int:
        model = Counting()
        o = Oracle(
            Torch(model),
            x,
            torch.zeros(len(x), dtype=torch.long),
            Threat("t", Ball(INF, 2), access=Access.LABEL, queries=1000),
            settle="nearest",
        )
        model.reset()
        hop_skip_jump.bind(probes=100)(o)
        return model.calls

    x, _ = rows(16)
    most = max(calls(x[i : i + 1]) for i in range(0, 16, 5))
    o_calls = calls(x)
    assert o_calls <= 3 * most + math.ceil(16 * 1000 / 256)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_geoda_comes_near_in_every_norm_it_knows(norm: str) -> None:
    x, y = rows()
    o = Oracle(Torch(Halfspace()), x, y, Threat("t", Ball(INF, norm), access=Access.LABEL, queries=2000), settle="nearest")
    geoda.bind(directions="full")(o)
    optimum = Halfspace().smallest(x, {"l1": 1.0, "l2": 2.0, "linf": INF}[norm])
    assert (o.outcome.distance <= (1.15 if norm == "l1" else 1.1) * optimum).all()


def test_the_median_of_the_density_of_boundaries_halves_it() -> None:
    from scipy import integrate

    from vauban.attacks.evasion.decision.adba import A, B, C, D, median

    def mass(a: float, b: float) -> float:
        return integrate.quad(lambda r: A / (r + D) ** B + C, a, b)[0]

    low, high = torch.tensor([0.0, 0.0, 0.2, 0.03]), torch.tensor([1.0, 0.1, 0.9, 0.031])
    for a, b, m in zip(low.tolist(), high.tolist(), median(low, high).tolist(), strict=True):
        assert a < m < b
        assert mass(a, m) == pytest.approx(mass(m, b), rel=0.02)


def test_a_comparison_of_directions_needs_no_search() -> None:
    """ADBA's economy over RayS: nearly all of its questions are steps."""
    model = Stripes(1, -1, -1, 1)
    x = torch.full((3, 1, 6, 6), 0.5)
    shares = []
    for attack in (adba, rays):
        o = labels_only(model, INF, x=x, y=torch.zeros(3, dtype=torch.long), threat={"queries": 60})
        attack.bind()(o)
        shares.append(float(o.outcome.kinds["projection"].double().mean()) / 60)
    assert shares[0] < shares[1]
