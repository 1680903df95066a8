"""The Square attack: its schedule and its windows by hand, its books, and what it must find on linear models."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import attacking, siege
from torch import Tensor, nn

from vauban.attacks import ATTACKS
from vauban.attacks.evasion.score.square import WALKS
from vauban.attacks.evasion.score.square_l2 import Masses
from vauban.attacks.parts.bumps import bump, pyramid, tiles
from vauban.attacks.parts.halvings import share
from vauban.attacks.parts.windows import Frame, draw
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.target import Torch
from vauban.threat import INF, Access, Ball, Goal, Threat

NORMS = ["linf", "l2", "l1"]
SHAPES = [(1, 6, 6), (3, 7, 5), (2, 4, 11), (1, 1, 9), (12,), (1,), (4, 5)]


class Recorded(nn.Module):
    """A random linear classifier that keeps what it was asked."""

    def __init__(self, shape: tuple[int, ...], classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.w = nn.Parameter(torch.randn(classes, math.prod(shape), generator=g))
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        return x.flatten(1) @ self.w.T.to(x)


def recorded(shape: tuple[int, ...], ball: Ball, n: int = 3, level: float = 0.5, **options: object) -> tuple[Oracle, Recorded]:
    """An oracle over inputs around `level` of the class that a linear model gives them."""
    model = Recorded(shape)
    x = (level + 0.2 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(1)) - 0.1).clamp(0, 1)
    y = model(x).argmax(1)
    threat = Threat("t", ball, access=Access.SCORE, **options.pop("threat", {}))  # type: ignore[arg-type]
    o = Oracle(Torch(model, outputs="logits"), x, y, threat, settle="nearest", **options)  # type: ignore[arg-type]
    model.asked.clear()
    return o, model


# ---- the schedule ---------------------------------------------------------------------------------------------------------------------


def test_the_published_schedule_halves_after_the_listed_iterations() -> None:
    marks = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    for k, mark in enumerate(marks):
        assert share(mark, 5000, 0.8, "published") == 0.8 / 2**k
        assert share(mark + 1, 5000, 0.8, "published") == 0.8 / 2 ** (k + 1)
    assert share(4998, 5000, 0.8, "published") == 0.8 / 128, "so a search of 5000 questions never sees the last two sizes"


def test_the_rescaled_schedule_is_the_published_one_of_ten_thousand() -> None:
    for i in range(0, 10_000, 7):
        assert share(i, 10_000, 0.8, "rescaled") == share(i, 77, 0.8, "published")
        assert share(i // 10, 1000, 0.8, "rescaled") == share(i // 10 * 10, 77, 0.8, "published")
    assert [share(i, 1000, 0.8, "rescaled") for i in (0, 1, 2, 5, 6, 20, 21)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1]
    assert share(0, 1, 0.8, "rescaled") == 0.8


def test_sides_of_windows_by_hand() -> None:
    """28 x 28, p = 0.8 and its halves: the roots of 627.2, 313.6, 156.8, 78.4, 39.2, 19.6, 9.8, 4.9, 2.45, 1.225."""
    frame = Frame((1, 28, 28), 0, 0, 28, 28, image=True)
    parts = [0.8 / 2**k for k in range(10)]
    assert [frame.sides(p) for p in parts] == [(s, s) for s in (25, 18, 13, 9, 6, 4, 3, 2, 2, 1)]
    assert [frame.sides(p, odd=True) for p in parts] == [(s, s) for s in (25, 19, 13, 9, 7, 5, 3, 3, 3, 3)]


def test_windows_of_oblong_images_and_of_vectors_cover_their_share() -> None:
    wide, tall = Frame((1, 4, 40), 0, 0, 4, 40, image=True), Frame((1, 40, 4), 0, 0, 40, 4, image=True)
    assert wide.sides(0.8) == (4, 32), "no square of 128 pixels fits: all the height, and the width that makes 128"
    assert tall.sides(0.8) == (32, 4)
    assert wide.sides(0.05) == (3, 3)
    assert wide.sides(1e-9) == (1, 1)
    assert Frame((1, 2, 2), 0, 0, 2, 2, image=True).sides(0.01, odd=True) == (2, 2), "an odd side of 3 does not fit"
    vector = Frame((30,), 0, 0, 1, 30, image=False)
    assert [vector.sides(p) for p in (1.0, 0.5, 0.11, 0.0)] == [(1, 30), (1, 15), (1, 3), (1, 1)]


# ---- the windows ----------------------------------------------------------------------------------------------------------------------


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 3),
    part=st.floats(0, 1),
    odd=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_windows_are_whole_rectangles_inside_the_image(height: int, width: int, channels: int, part: float, odd: bool, seed: int) -> None:
    o, _ = recorded((channels, height, width), Ball(0.1), seed=seed)
    frame = Frame.of(o)
    block = draw(o, frame, lambda _: frame.sides(part, odd=odd), 0, each=2)
    h, w = block.sides
    assert h <= height
    assert w <= width
    mask = torch.zeros(3, block.questions, 2, channels * height * width, dtype=torch.bool).scatter(3, block.place.flatten(3), value=True)
    picture = mask.view(3, block.questions, 2, channels, height, width)
    assert (picture.sum((-1, -2)) == h * w).all(), "as many pixels in every channel"
    assert (picture.any(-1).sum(-1) == h).all()
    assert (picture.any(-2).sum(-1) == w).all()
    assert (picture == picture[:, :, :, :1]).all(), "the same ones"


def test_every_place_where_a_window_fits_is_as_likely() -> None:
    o, _ = recorded((1, 5, 4), Ball(0.1), n=200)
    frame = Frame.of(o)
    corner = draw(o, frame, lambda _: (2, 2), 0).place[..., 0, 0].flatten()
    counts = torch.bincount(corner, minlength=20).view(5, 4)
    assert (counts[4] == 0).all()
    assert (counts[:, 3] == 0).all()
    expected = len(corner) / 12
    assert ((counts[:4, :3] - expected).abs() < 5 * math.sqrt(expected)).all()


def test_windows_of_a_vector_are_distinct_features_in_an_order_of_each_rows_own() -> None:
    o, _ = recorded((12,), Ball(0.1), n=50)
    frame = Frame.of(o)
    block = draw(o, frame, lambda _: frame.sides(0.34), 0)
    place = block.place.flatten(2)
    assert place.shape[2] == 4
    assert (place.sort(2).values.diff(dim=2) > 0).all()
    pairs = {(int(a), int(b)) for a, b in place[:, :, :2].flatten(0, 1)}
    assert len(pairs) > 120, "every feature next to every other, for some row"
    assert block.up.shape == (50, block.questions, 1, 4)


def test_a_block_ends_where_the_size_changes() -> None:
    o, _ = recorded((1, 6, 6), Ball(0.1))
    frame = Frame.of(o)
    assert draw(o, frame, lambda i: (3, 3) if i < 10 else (2, 2), 4).questions == 6
    assert draw(o, frame, lambda i: (1, 1), 0).questions == 128


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(2, 6, 6), (20,)])
def test_what_a_mask_forbids_never_changes_and_windows_stay_near_what_it_allows(norm: str, shape: tuple[int, ...]) -> None:
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[..., 2:5] = True
    o, model = recorded(shape, Ball(0.3, norm, mask=tuple(mask.flatten().tolist())))
    ATTACKS["square"].bind(queries=60)(o)
    changed = torch.stack(model.asked) != o.x
    assert not changed[..., ~mask].any()
    assert changed[..., mask].flatten(1).any(1).all()
    frame = Frame.of(o)
    assert (frame.left, frame.width) == ((2, 3) if len(shape) == 3 else (0, 3))
    assert mask.flatten()[draw(o, frame, lambda _: frame.sides(0.3), 0).place].all(), "no question is wasted on what cannot change"


# ---- the moves in L-infinity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_question_is_a_corner_of_ball_and_box(shape: tuple[int, ...]) -> None:
    o, model = recorded(shape, Ball(0.45))
    ATTACKS["square"].bind(queries=80)(o)
    lower, upper = o.limits
    for asked in model.asked:
        assert ((asked == lower) | (asked == upper)).all()


def test_it_starts_with_vertical_stripes_of_each_channel() -> None:
    o, model = recorded((3, 8, 9), Ball(0.1), n=20)
    ATTACKS["square"].bind(queries=1)(o)
    up = model.asked[0] > o.x
    assert (up == up[:, :, :1]).all()
    assert up[:, :, 0].float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert len(model.asked) == 1


def walk_through(model: Recorded, y: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """From what was asked, what was kept and how every question differs from it, by the rule that only a higher margin is kept."""
    asked, kept, moves = model.asked, model.asked[0], []
    margin = -torch.full((len(kept),), INF)
    margins = []
    for x in asked:
        z = x.flatten(1) @ model.w.T.detach()
        own = z.gather(1, y[:, None])[:, 0]
        value = z.scatter(1, y[:, None], -INF).amax(1) - own
        moves.append(x != kept)
        kept = torch.where((value > margin).view(-1, *[1] * (x.ndim - 1)), x, kept)
        margin = torch.maximum(margin, value)
        margins.append(margin)
    return moves, margins


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 7, 5), (12,)])
def test_each_question_moves_one_window_of_the_best_so_far_and_hardly_ever_is_that_again(shape: tuple[int, ...]) -> None:
    o, model = recorded(shape, Ball(0.2))
    ATTACKS["square"].bind(queries=300)(o)
    frame = Frame.of(o)
    moves, margins = walk_through(model, o.book.answers)
    idle = 1 - torch.stack(moves[1:]).flatten(2).any(2).float().mean()
    assert idle < 0.1, "of random windows with random signs about a third would change nothing"
    for i, moved in enumerate(moves[1:]):
        h, w = frame.sides(share(i, 300, 0.8, "rescaled"))
        assert (moved.flatten(1).sum(1) <= frame.channels * h * w).all()
        if frame.image:
            for row in moved.any(1)[moved.flatten(1).any(1)]:
                down, across = row.any(1).nonzero(), row.any(0).nonzero()
                assert int(down.max() - down.min()) < h
                assert int(across.max() - across.min()) < w
    assert (margins[-1] > margins[0]).all(), "the margin improves"


@pytest.mark.parametrize("p", [INF, 2.0, 1.0])
def test_what_is_not_kept_is_taken_back_exactly(p: float) -> None:
    o, _ = recorded((2, 6, 7), Ball(0.3, p), n=8, level=0.05)
    with attacking(o, Access.SCORE):
        walk = WALKS[p](o, lambda i: 0.5 / (1 + i))
        coin = torch.Generator().manual_seed(0)
        for i in range(60):
            before = walk.point.clone()
            walk.propose(i)
            proposed = walk.point.clone()
            better = torch.rand(8, generator=coin) < 0.4
            walk.keep(better)
            assert torch.equal(walk.point, torch.where(better.view(-1, 1, 1, 1), proposed, before))


# ---- the moves in L2 and L1 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_far_from_the_walls_every_question_has_all_the_norm_it_may_have(norm: str, shape: tuple[int, ...]) -> None:
    o, model = recorded(shape, Ball(0.7, norm, -5.0, 5.0))
    ATTACKS["square"].bind(queries=250)(o)
    size = torch.stack([o.ball.distance(o.x, asked) for asked in model.asked])
    assert (size <= 0.7).all()
    assert (size >= 0.7 * (1 - 1e-4)).all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_near_the_walls_ball_and_box_are_kept(norm: str, shape: tuple[int, ...]) -> None:
    o, model = recorded(shape, Ball(1.5, norm), level=0.05)
    with attacking(o, Access.SCORE):
        walk = WALKS[o.ball.p](o, lambda i: 0.8 / (1 + i / 20))
        for i in range(150):
            walk.propose(i)
            assert (o.ball.distance(o.x, walk.point) <= 1.5).all()
            assert (o.ball.outside(walk.point, o.x) == 0).all()
            walk.keep(torch.arange(3) % 2 == i % 2)
    assert not model.asked


@pytest.mark.parametrize("shape", SHAPES)
def test_in_l2_the_books_agree_with_the_change_and_what_the_walls_cut_off_is_spent_again(shape: tuple[int, ...]) -> None:
    o, _ = recorded(shape, Ball(0.9, "l2"), level=0.05)
    with attacking(o, Access.SCORE):
        walk = Masses(o, lambda i: 0.8 / (1 + i / 20))
        grew = torch.zeros(3, dtype=torch.bool)
        for i in range(150):
            before = walk.s.mass.clone()
            walk.propose(i)
            walk.keep(torch.arange(3) % 2 == i % 2)
            assert torch.allclose(walk.s.mass.double(), o.ball.distance(o.x, walk.point).square(), rtol=1e-4, atol=1e-6)
            grew |= walk.s.mass > before * 1.001
        assert grew.all() or math.prod(shape) == 1


def test_the_second_window_is_emptied_and_the_first_gets_its_mass_channel_by_channel() -> None:
    """One move by hand (algorithm 3 of the paper), on two channels, far from the walls."""
    o, _ = recorded((2, 9, 9), Ball(1.0, "l2", -5.0, 5.0))
    with attacking(o, Access.SCORE):
        walk = Masses(o, lambda _: 0.1)
        old = (walk.point - o.x).double().flatten(2)
        walk.propose(0)
        new = (walk.point - o.x).double().flatten(2)
        first, second = (torch.zeros(3, 2, 81, dtype=torch.bool) for _ in range(2))
        first.view(3, -1).scatter_(1, walk.block.place[:, 0], value=True)
        second.view(3, -1).scatter_(1, walk.block.other[:, 0], value=True)
        added = walk.block.bump[:, 0].double()
    assert torch.equal(new[~first & ~second], old[~first & ~second])
    assert (new[second & ~first] == 0).all()
    union = (old * (first | second)).square().sum(2)
    assert torch.allclose((new * first).square().sum(2), union, rtol=1e-3), "nothing was unused, so each channel keeps what it had"
    before = old[first].view(3, 2, -1)
    blend = added + before / before.norm(dim=2, keepdim=True)
    expected = blend / blend.norm(dim=2, keepdim=True) * union.sqrt()[:, :, None]
    assert torch.allclose(new[first].view(3, 2, -1), expected, rtol=1e-3, atol=1e-5)


def test_in_l1_the_second_window_is_emptied_and_all_but_the_first_shrinks() -> None:
    o, _ = recorded((2, 9, 9), Ball(1.0, "l1", -5.0, 5.0))
    with attacking(o, Access.SCORE):
        walk = WALKS[1.0](o, lambda _: 0.1)
        old = (walk.point - o.x).flatten(1)
        walk.propose(0)
        new = (walk.point - o.x).flatten(1)
        first, second = (torch.zeros(3, 162, dtype=torch.bool) for _ in range(2))
        first.scatter_(1, walk.block.place[:, 0], value=True)
        second.scatter_(1, walk.block.other[:, 0], value=True)
    assert (new[second & ~first] == 0).all()
    rest = ~first & ~second
    assert (new[rest].abs() < old[rest].abs()).all()
    assert ((new * first).abs().sum(1) > (old * (first | second)).abs().sum(1)).all()


def test_a_bump_that_meets_its_own_mirror_image_keeps_its_mass() -> None:
    o, _ = recorded((1, 3, 3), Ball(1.0, "l2", -5.0, 5.0), n=30)
    with attacking(o, Access.SCORE):
        walk = Masses(o, lambda _: 1.0)  # one window: the whole image, so that bumps of both signs fall on each other
        for i in range(30):
            walk.propose(i)
            assert ((walk.point - o.x).flatten(1).norm(dim=1) - 1).abs().max() < 1e-3
            walk.keep(torch.ones(30, dtype=torch.bool))


def test_pyramids_by_hand() -> None:
    low, high = 1 / 4, 1 + 1 / 4
    assert torch.allclose(pyramid(3, 3), torch.tensor([[low, low, low], [low, high, low], [low, low, low]]))
    assert torch.allclose(pyramid(1, 3), torch.tensor([[low, high, low]]))
    assert pyramid(5, 5)[2, 2].item() == pytest.approx(1 + 1 / 4 + 1 / 9)
    assert pyramid(5, 5)[0, 2].item() == pytest.approx(1 / 9)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("sides", [(3, 3), (5, 5), (1, 4), (2, 7), (1, 1)])
def test_bumps_have_norm_one_and_two_opposed_halves_of_equal_norm(sides: tuple[int, int], p: float) -> None:
    b = bump(*sides, p)
    assert torch.linalg.vector_norm(b, p).item() == pytest.approx(1, abs=1e-6)
    if sides[0] > 1:
        upper, lower = b[: sides[0] // 2], b[sides[0] // 2 :]
        assert (upper > 0).all()
        assert (lower < 0).all()
        assert torch.linalg.vector_norm(upper, p).item() == pytest.approx(torch.linalg.vector_norm(lower, p).item(), rel=1e-5)


def test_the_first_change_tiles_the_image_with_bumps_of_both_signs_and_both_ways() -> None:
    o, _ = recorded((2, 11, 15), Ball(1.0, "l2"), n=40)
    with attacking(o, Access.SCORE):
        change = tiles(o.noise, Frame.of(o), 2.0)
    assert (change[:, :, 10:] == 0).all(), "tiles of 2 x 2 leave the last row bare"
    assert (change[:, :, :10, :14] != 0).all()
    tile = change[:, :, :10, :14].unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.allclose(tile.square().sum((-1, -2)), torch.ones(40, 2, 5, 7))
    along = (tile[..., 0, :] * tile[..., 1, :] > 0).all(-1)  # the halves lie side by side
    assert along.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(along[:, 0], along[:, 1]), "channels turn together"
    assert (tile[..., 0, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


# ---- the whole ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("queries", "restarts", "budget"), [(1, 1, INF), (2, 1, INF), (17, 3, INF), (50, 1, 23), (10, 4, 33)])
def test_it_asks_exactly_as_often_as_it_may(norm: str, queries: int, restarts: int, budget: float) -> None:
    o, model = recorded((1, 6, 6), Ball(0.01, norm), threat={"queries": budget})
    ATTACKS["square"].bind(queries=queries, restarts=restarts)(o)
    assert len(model.asked) == min(queries * restarts, budget)
    assert (o.outcome.queries == min(queries * restarts, budget)).all()


def test_the_schedule_is_that_of_the_budget_where_the_threat_allows_less() -> None:
    """With 100 questions of which 99 are moves, the last windows are single pixels, whatever `queries` says."""
    o, model = recorded((1, 6, 6), Ball(0.05), threat={"queries": 100})
    ATTACKS["square"].bind(queries=5000)(o)
    moves, _ = walk_through(model, o.book.answers)
    assert max(int(moved.flatten(1).sum(1).max()) for moved in moves[82:]) == 1
    assert max(int(moved.flatten(1).sum(1).max()) for moved in moves[1:]) > 9


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 4, 5), (24,)])
def test_in_linf_it_reaches_the_best_corner_of_a_linear_model(shape: tuple[int, ...]) -> None:
    """The best corner of z_1 - z_0 is the sign of the weights' difference; the radius is a thousandth more than what that needs."""
    model = Recorded(shape, classes=2, seed=5)
    x = torch.full((4, *shape), 0.5)
    y = model(x).argmax(1)
    slope = (model.w[1 - y] - model.w[y]).detach()
    gap = -(slope * x.flatten(1)).sum(1)
    eps = float((gap / slope.abs().sum(1)).max()) * 1.001
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps, lo=-9.0, hi=9.0), access=Access.SCORE))
    ATTACKS["square"].bind(queries=2000)(o)
    assert o.outcome.broken.all()


@pytest.mark.parametrize(
    ("norm", "shape", "factor"), [("l2", (24,), 1.2), ("l1", (24,), 1.1), ("l2", (1, 8, 8), 1.5), ("l1", (1, 8, 8), 1.4)]
)
def test_in_l2_and_l1_it_comes_near_the_closed_form_on_a_linear_model(norm: str, shape: tuple[int, ...], factor: float) -> None:
    """Nearer for vectors: in an image, bumps of three pixels and more are a poor likeness of weights without any order."""
    model = Recorded(shape, classes=2, seed=5)
    x = torch.full((4, *shape), 0.5)
    y = model(x).argmax(1)
    slope = (model.w[1 - y] - model.w[y]).detach()
    gap = -(slope * x.flatten(1)).sum(1)
    least = gap / torch.linalg.vector_norm(slope, 2 if norm == "l2" else INF, dim=1)
    ball = Ball(float(least.max()) * factor, norm, -99.0, 99.0)
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", ball, access=Access.SCORE))
    ATTACKS["square"].bind(queries=3000)(o)
    assert o.outcome.broken.all()


@pytest.mark.parametrize("norm", NORMS)
def test_goals_that_want_a_class_are_met_with_cross_entropy_as_published(norm: str) -> None:
    shape = (1, 6, 6)
    model = Recorded(shape, classes=5)
    x = torch.rand(12, *shape, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    wanted = int(model(x).mean(0).argsort()[-2])
    eps = {"linf": 0.3, "l2": 2.0, "l1": 10.0}[norm]
    o = Oracle(Torch(model, outputs="logits"), x, y, Threat("t", Ball(eps, norm), goal=Goal(wanted=wanted), access=Access.SCORE))
    ATTACKS["square"].bind(queries=1000, loss="cross-entropy")(o)
    r = o.outcome
    assert torch.equal(r.eligible, y != wanted)
    assert r.broken[r.eligible].all()
    assert (model(r.best[r.broken]).argmax(1) == wanted).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_double_precision_and_single_inputs_work(norm: str, shape: tuple[int, ...]) -> None:
    model = Recorded(shape).double()
    x = torch.full((1, *shape), 0.5, dtype=torch.float64)
    o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), Threat("t", Ball(0.2, norm), access=Access.SCORE), settle="nearest")
    model.asked.clear()
    ATTACKS["square"].bind(queries=20)(o)
    assert all(asked.dtype == torch.float64 and asked.shape == x.shape for asked in model.asked)
    assert len(model.asked) == 20


def test_answers_that_are_not_numbers_are_never_kept() -> None:
    class Broken(Recorded):
        def forward(self, x: Tensor) -> Tensor:
            z = super().forward(x)
            return torch.where((torch.arange(len(z)) == 0)[:, None] & (len(self.asked) > 3), torch.nan, z)

    model = Broken((1, 6, 6))
    x = torch.full((2, 1, 6, 6), 0.5)
    o = Oracle(Torch(model, outputs="logits"), x, model(x).argmax(1), Threat("t", Ball(0.01), access=Access.SCORE), settle="nearest")
    ATTACKS["square"].bind(queries=100)(o)
    start = model.asked[2][0]
    moved = torch.stack(model.asked[60:])[:, 0] != start
    assert (moved.flatten(1).sum(1) == 1).all(), "each question is one pixel away from the start, which was the last answer with a value"
    assert not o.outcome.broken[0]


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"queries": 0}, {"p_init": 1.5}, {"schedule": "other"}, {"loss": "hinge"}):
        with pytest.raises(BadPlan):
            ATTACKS["square"].bind(**wrong)


def test_it_is_registered_with_what_it_needs() -> None:
    facts = ATTACKS["square"].facts
    assert facts.access is Access.SCORE
    assert facts.on == ("linf", "l2", "l1")
    o = siege()
    ATTACKS["square"].bind(queries=50)(o)
    assert o.outcome.broken.all()
    assert int(o.outcome.gradients.sum()) == 0
