"""Attacks on patches and on pixels: on linear models they reach the best window and the best pixels, and what they ask is legal and new."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS, find
from vauban.attacks.evasion.score.sparse_rs_patch import _Sizes
from vauban.attacks.parts.places import Places
from vauban.attacks.suites import SUITES, suite
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.target import Torch
from vauban.threat import INF, Access, Ball, Patch, Perturbation, Threat

SHAPE = (3, 7, 6)


class Slope(nn.Module):
    """Scores 0 and w.(x - 1/2) - far: the margin is linear with gradient w, and nothing is a success while `far` is. It keeps what it is asked."""

    def __init__(self, w: Tensor, far: float = 1000.0) -> None:
        super().__init__()
        self.w, self.far = nn.Parameter(w), far
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        z = (x - 0.5).flatten(1) @ self.w.flatten() - self.far
        return torch.stack([torch.zeros_like(z), z], 1)

    def most(self) -> Tensor:
        """The largest gain over the clean inputs that it was asked about."""
        with torch.no_grad():
            return ((torch.cat(self.asked) - 0.5).flatten(1) @ self.w.flatten()).max()


def weights(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attacked(name: str, w: Tensor, allowed: Perturbation, n: int = 1, queries: float = INF, **settings: object) -> tuple[Oracle, Slope]:
    """One attack on n grey images and a linear model that it cannot fool."""
    model, recipe = Slope(w), ATTACKS[name]
    threat = Threat("t", allowed, access=max(recipe.facts.access, Access.SCORE), queries=queries)
    o = Oracle(Torch(model, outputs="logits"), torch.full((n, *w.shape), 0.5), torch.zeros(n, dtype=torch.long), threat)
    model.asked.clear()
    recipe.bind(**settings)(o)
    return o, model


def best_of_windows(w: Tensor, height: int, width: int) -> float:
    """What the best window gains, every feature of it at the end of [0, 1] that w points to, from 1/2: a half of the sum of |w|."""
    gains = w.abs().sum(0) / 2
    return max(
        float(gains[top : top + height, left : left + width].sum())
        for top, left in itertools.product(range(w.shape[1] - height + 1), range(w.shape[2] - width + 1))
    )


# ---- patches on a linear model: the window with the largest sum of gains -----------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 4), (7, 6)])
@pytest.mark.parametrize(("name", "settings"), [("fgsm", {"loss": "margin"}), ("patch-pgd", {"restarts": 1, "loss": "margin"})])
def test_gradients_find_the_best_patch_of_a_linear_model(name: str, settings: dict[str, object], size: tuple[int, int]) -> None:
    w = weights(*SHAPE)
    _, model = attacked(name, w, Patch(size), **settings)
    assert float(model.most()) == pytest.approx(best_of_windows(w, *size), rel=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2)])
def test_questions_enough_find_the_best_patch_of_a_linear_model(size: tuple[int, int]) -> None:
    """All weights positive, so that a pattern that is best in one place is best in all."""
    w = weights(*SHAPE).abs()
    _, model = attacked("sparse-rs-patch", w, Patch(size), queries=2000)
    assert float(model.most()) == pytest.approx(best_of_windows(w, *size), rel=1e-5)


def test_where_each_place_wants_another_pattern_questions_find_the_best_one_of_a_place() -> None:
    """With weights of all signs a search may stay at a place that is not the best, since what it shows is not right for the next one."""
    w = weights(*SHAPE)
    _, model = attacked("sparse-rs-patch", w, Patch(3), n=6, queries=3000)
    gains = (w.abs().sum(0) / 2).unfold(0, 3, 1).unfold(1, 3, 1).sum((-1, -2)).flatten()
    with torch.no_grad():
        asked = torch.stack(model.asked, 1)
        won = ((asked - 0.5).flatten(2) @ w.flatten()).amax(1)
    apart = (won[:, None] - gains).abs().amin(1)
    assert (apart < 1e-4).all()


def test_a_patch_begins_at_the_best_of_the_places_looked_at_and_moves_where_that_is_better() -> None:
    """Weights that grow towards the last corner: the first restart is told so by the gradient, and the second comes nearer by moves."""
    w = (0.1 * (1 + torch.arange(7.0)[:, None] + torch.arange(6.0))).expand(SHAPE).clone()
    o, model = attacked("patch-pgd", w, Patch(2), steps=30, restarts=2, looks=3)
    assert [len(x) for x in model.asked] == [1, 4, *([1, 1] * 30), 1, 1, 3, *([1, 1] * 30), 1]
    assert int(o.outcome.queries) == sum(map(len, model.asked))
    with torch.no_grad():
        gain = [(x - 0.5).flatten(1) @ w.flatten() for x in model.asked]
    best = best_of_windows(w, 2, 2)
    assert float(gain[1][3]) == pytest.approx(best), "where the gradient promises most, each feature where it points"
    assert float(gain[2]) == pytest.approx(best), "and there it begins"
    second = gain[63:]
    assert float(second[2]) == pytest.approx(float(second[1].max()))
    assert best * 1.001 > float(second[-1]) > float(second[2]), "by moves alone: what it shows was right from the start"
    ascents = [float(g) for g in second[2::2]]
    assert ascents == sorted(ascents)


# ---- what is asked ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["sparse-rs-patch", "patch-pgd", "fgsm", "uniform-noise", "salt-and-pepper"])
def test_every_question_is_a_legal_patch(name: str, masked: bool) -> None:
    mask = [k % 6 >= 2 for k in range(math.prod(SHAPE))] if masked else None
    settings = {"queries": 300} if name == "sparse-rs-patch" else {}
    o, model = attacked(name, weights(*SHAPE), Patch((3, 5), lo=0.2, hi=0.7, mask=mask), n=2, **settings)
    for asked in model.asked:
        x = torch.full_like(asked, 0.5)
        assert (o.ball.distance(x, asked) <= 5).all()
        assert (o.ball.outside(asked, x) == 0).all()


def test_no_question_of_the_search_is_about_a_point_that_is_known() -> None:
    for size in (1, 3):
        _, model = attacked("sparse-rs-patch", weights(*SHAPE), Patch(size), queries=400)
        with torch.no_grad():
            value = [float((x - 0.5).flatten() @ model.w.flatten()) for x in model.asked]
        kept = 0
        for i in range(1, len(model.asked)):
            assert not torch.equal(model.asked[i], model.asked[kept]), "what would change nothing is changed until it does"
            kept = i if value[i] > value[kept] else kept


@pytest.mark.parametrize("queries", [0, 1, 2, 13])
def test_the_search_asks_as_often_as_it_may(queries: int) -> None:
    o, model = attacked("sparse-rs-patch", weights(*SHAPE), Patch(2), n=3, queries=queries)
    assert (o.outcome.queries == queries).all()
    assert len(model.asked) == queries
    assert (o.outcome.kinds["step"] == queries).all()


def test_a_patch_moves_every_so_often_and_ever_less_far() -> None:
    w = torch.zeros(1, 40, 40)  # nothing is better than anything, so every proposal starts from the first patch
    _, model = attacked("sparse-rs-patch", w, Patch(2), queries=400, period=4)
    corners = [(x[0, 0] != 0.5).nonzero().amin(0) for x in model.asked]
    moved = torch.tensor([not torch.equal(c, corners[0]) for c in corners])
    turns = torch.arange(len(moved))
    assert not moved[turns % 4 != 0].any()
    far = torch.stack([(c - corners[0]).abs().amax() for c in corners])[turns % 4 == 0]
    assert moved[turns % 4 == 0][1:90].all()
    assert int(far[:50].max()) > 2 * int(far[60:].max())


def test_the_part_repainted_shrinks_as_published() -> None:
    sizes = _Sizes(0.4, 10_000, "rescaled")
    shares = [sizes.share(i) / 0.4 for i in (1, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    assert [round(1 / s) for s in shares] == [1, 1, 2, 4, 8, 16, 32, 32, 64, 64, 128]
    assert _Sizes(0.4, 100, "rescaled").share(60) == sizes.share(6000)
    assert _Sizes(0.4, 100, "published").share(60) == sizes.share(60)
    assert [sizes.sides(i, 20, 10) for i in (1, 4000, 4001)] == [(12, 6), (2, 1), (1, 1)]
    assert sizes.single(20, 20) == 7000, "the second half of the questions about single pixels"


def test_places_are_numbered_in_reading_order() -> None:
    threat = Threat("t", Patch((2, 3), mask=[6 <= k % 42 < 36 for k in range(126)]))
    o = Oracle(Torch(Slope(weights(*SHAPE)), outputs="logits"), torch.full((1, *SHAPE), 0.5), torch.zeros(1, dtype=torch.long), threat)
    places = Places.of(o)
    assert (places.down, places.across) == (4, 4), "of the rows 1 to 5 that the mask leaves"
    for number, (top, left) in enumerate(itertools.product(range(4), range(4))):
        shown = places.shown(o, torch.tensor([number]), torch.full((1, 18), 0.75))[0]
        assert shown.unique().tolist() == [0.5, 0.75]
        inside = (shown == 0.75).nonzero()
        assert inside.amin(0).tolist() == [0, top + 1, left]
        assert inside.amax(0).tolist() == [2, top + 2, left + 2]
        worth = torch.zeros(1, 7, 6)
        worth[0, top + 1, left] = worth[0, top + 2, left + 2] = 1
        worth[0, 0] = worth[0, 6] = 5
        assert places.best(worth).tolist() == [number], "what the mask forbids is worth nothing"
    move = torch.tensor([5, 0, 15])
    assert places.shifted(move, torch.tensor([1, -9, 9]), torch.tensor([-1, -9, 9])).tolist() == [8, 1, 0]


# ---- pixels -------------------------------------------------------------------------------------------------------------------------------


def best_pixels(w: Tensor, count: int) -> float:
    return float((w.abs().sum(0) / 2).flatten().topk(count).values.sum())


@pytest.mark.parametrize("count", [1, 3])
def test_gradients_and_questions_find_the_best_pixels_of_a_linear_model(count: int) -> None:
    w = weights(*SHAPE)
    for name, settings in (("fgsm", {"loss": "margin"}), ("sparse-rs", {"queries": 4000})):
        _, model = attacked(name, w, Ball(count, "l0", pixels=True), **settings)
        assert float(model.most()) == pytest.approx(best_pixels(w, count), rel=1e-5), name


@pytest.mark.parametrize("masked", [False, True])
def test_sparse_rs_changes_as_many_pixels_as_it_may_in_every_question(masked: bool) -> None:
    mask = [k % 6 >= 2 for k in range(math.prod(SHAPE))] if masked else None
    o, model = attacked("sparse-rs", weights(*SHAPE), Ball(4, "l0", lo=0.2, hi=0.7, mask=mask, pixels=True), n=2, queries=200)
    x = torch.full((2, *SHAPE), 0.5)
    for asked in model.asked:
        assert (o.ball.distance(x, asked) == 4).all()
        assert (o.ball.outside(asked, x) == 0).all()
        assert set(asked.unique().tolist()) <= {0.5, *torch.tensor([0.2, 0.7]).tolist()}, "every channel at an end"


@pytest.mark.parametrize("name", ["sigma-zero", "fmn"])
def test_the_fewest_pixels_are_fewer_than_the_features_in_them(name: str) -> None:
    """A linear model where 3 pixels of all channels are needed, and 9 features: attacks that count pixels come near to 3."""
    w = torch.full((3, 8, 8), 0.01)
    w[:, 2, 2] = w[:, 5, 1] = w[:, 6, 6] = 1.0
    model = Slope(w, far=3.9)
    found = {}
    for allowed in (Ball(64, "l0", pixels=True), Ball(192, "l0")):
        x = torch.full((1, 3, 8, 8), 0.5)
        o = Oracle(Torch(model, outputs="logits"), x, torch.zeros(1, dtype=torch.long), Threat("t", allowed), settle="nearest")
        find(name).bind(steps=200)(o)
        found[allowed.pixels] = float(o.outcome.distance)
    assert found[True] <= 4
    assert found[False] >= 8


def test_attacks_that_count_features_refuse_pixels_and_patches_in_one_sentence() -> None:
    pixels, patch = (Threat("sticker", p) for p in (Ball(3, "l0", pixels=True), Patch(3)))
    with pytest.raises(BadPlan, match=r"^attack 'jsma' works on l0, and threat 'sticker' allows pixels$"):
        find("jsma").bind().check(pixels)
    with pytest.raises(BadPlan, match=r"^attack 'sparse-rs' works on l0, pixels, and threat 'sticker' allows patch$"):
        find("sparse-rs").bind().check(patch)
    with pytest.raises(BadPlan, match=r"^attack 'patch-pgd' needs images \(channels, height, width\); these inputs have shape \(9,\)$"):
        find("patch-pgd").bind().check(patch, shape=(9,))


@pytest.mark.parametrize("allowed", [Patch(3), Ball(3, "l0", pixels=True)])
def test_the_suites_have_something_for_patches_and_pixels(allowed: Ball | Patch) -> None:
    kind = allowed.kind
    for access in (Access.SCORE, Access.GRADIENT):
        threat = Threat("t", allowed, access=access)
        for name in SUITES:
            if name.startswith("autoattack") or (name == "quick" and access is Access.SCORE):
                with pytest.raises(BadPlan, match=f"no attack of the suite '{name}' can act with {access.name.lower()} access on {kind}"):
                    suite(name, threat, (3, 8, 8))
                continue
            names = [a.name for a in suite(name, threat, (3, 8, 8))]
            if name in ("vauban", "standard"):
                assert ({"patch": "sparse-rs-patch", "pixels": "sparse-rs"}[kind]) in names
            if name == "vauban" and access is Access.GRADIENT:
                assert ({"patch": "patch-pgd", "pixels": "sigma-zero"}[kind]) in names
