"""Patches and pixels: distances by hand, projections and steepest steps against every window and every choice of pixels."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vauban.errors import BadPlan
from vauban.geometry import Body, body_of
from vauban.threat import INF, Ball, Patch, Perturbation

MANY = settings(max_examples=60, deadline=None)
CASE = {
    "seed": st.integers(0, 10_000),
    "shape": st.sampled_from([(1, 4, 4), (3, 5, 4), (2, 3, 7)]),
    "size": st.tuples(st.integers(1, 3), st.integers(1, 4)) | st.integers(1, 3),
    "reach": st.sampled_from([1e-6, 0.1, 1.0, 30.0]),
    "masked": st.booleans(),
}


def drawn(seed: int, shape: tuple[int, ...], reach: float, n: int = 3) -> tuple[Tensor, Tensor]:
    """Clean images in [0, 1], and images around them."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *shape, generator=g)
    return x, x + torch.randn(n, *shape, generator=g) * reach


def windows(shape: tuple[int, ...], sides: tuple[int, int]) -> Tensor:
    """Every window of an image as bool (places, 1, height, width)."""
    down, across = shape[-2] - sides[0] + 1, shape[-1] - sides[1] + 1
    found = torch.zeros(down * across, 1, *shape[-2:], dtype=torch.bool)
    for place, (top, left) in enumerate(itertools.product(range(down), range(across))):
        found[place, 0, top : top + sides[0], left : left + sides[1]] = True
    return found


def pixel_sets(shape: tuple[int, ...], count: int) -> Tensor:
    """Every choice of so many pixels, bool (choices, 1, height, width)."""
    choices = [*itertools.combinations(range(math.prod(shape[-2:])), count)]
    found = torch.zeros(len(choices), math.prod(shape[-2:]), dtype=torch.bool)
    for row, choice in enumerate(choices):
        found[row, list(choice)] = True
    return found.view(-1, 1, *shape[-2:])


def body(allowed: Perturbation, x: Tensor) -> Body:
    assert isinstance(allowed, Ball | Patch)
    return body_of(allowed, x)


# ---- distance -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "square", "tall"),
    [
        ([], 0, 0),
        ([(0, 0)], 1, 2),  # one column is half of a window twice as high as wide
        ([(1, 1), (3, 1)], 3, 3),
        ([(1, 1), (1, 3)], 3, 6),
        ([(0, 0), (4, 5)], 6, 12),
        ([(4, 5)], 1, 2),
    ],
)
def test_the_size_of_a_patch_is_that_of_the_smallest_window_around_what_changed(
    pixels: list[tuple[int, int]], square: float, tall: float
) -> None:
    x = torch.full((1, 3, 5, 6), 0.5)
    moved = x.clone()
    for channel, (row, column) in enumerate(pixels):
        moved[0, channel % 3, row, column] += 1e-7
    for size, expected in ((2, square), ((4, 2), tall)):
        found = body(Patch(size), x).distance(x, torch.stack([moved, x]))
        assert found.dtype == torch.float64
        assert found.tolist() == [[expected], [0]]


def test_a_pixel_counts_once_however_many_of_its_channels_change() -> None:
    x = torch.full((2, 3, 4, 4), 0.5)
    moved = x.clone()
    moved[0, :, 1, 2] = 0
    moved[0, 1, 3, 3] = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    assert body(Ball(2, "l0", pixels=True), x).distance(x, moved).tolist() == [2, 0]
    assert body(Ball(4, "l0"), x).distance(x, moved).tolist() == [4, 0]


@given(**CASE)  # type: ignore[arg-type]
@MANY
def test_a_change_is_within_a_patch_exactly_where_some_window_holds_it(
    seed: int, shape: tuple[int, ...], size: int | tuple[int, int], reach: float, masked: bool
) -> None:
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(6, *shape)
    moved = (torch.rand(6, *shape, generator=g) < 0.06).float()
    patch = Patch(size) if isinstance(size, int) else Patch((min(size[0], shape[1]), min(size[1], shape[2])))
    within = body(patch, x).distance(x, moved) <= patch.eps
    held = ((moved != 0)[:, None] & ~windows(shape, patch.size)).flatten(2).any(2).logical_not().any(1)
    assert torch.equal(within, held)


# ---- projection -----------------------------------------------------------------------------------------------------------------------


def fitted(size: int | tuple[int, int], shape: tuple[int, ...], masked: bool) -> Patch:
    mask = [i % 3 != 0 for i in range(math.prod(shape))] if masked else None
    sides = (size, size) if isinstance(size, int) else size
    return Patch((min(sides[0], shape[1]), min(sides[1], shape[2])), mask=mask)


def counted(count: int, shape: tuple[int, ...], masked: bool) -> Ball:
    mask = [i % 3 != 0 for i in range(math.prod(shape))] if masked else None
    return Ball(count, "l0", mask=mask, pixels=True)


@pytest.mark.parametrize("kind", ["patch", "pixels"])
@given(**CASE)  # type: ignore[arg-type]
@MANY
def test_projection_is_inside_exactly_and_idempotent(
    kind: str, seed: int, shape: tuple[int, ...], size: int | tuple[int, int], reach: float, masked: bool
) -> None:
    x, far = drawn(seed, shape, reach)
    count = size if isinstance(size, int) else size[0] * size[1]
    allowed = fitted(size, shape, masked) if kind == "patch" else counted(count, shape, masked)
    found = body(allowed, x)
    limits = found.limits(x)
    p = found.project(x, far, limits)
    assert (found.distance(x, p) <= allowed.eps).all()
    assert (found.outside(p, x) == 0).all()
    assert torch.equal(found.project(x, p, limits), p), "idempotent, bit for bit"
    assert torch.equal(found.project(x, torch.stack([far, x]), limits)[0], p), "leading dimensions"
    assert torch.equal(found.project(x, x, limits), x), "the clean input stays where it is"
    assert torch.equal(found.project(x[1:2], far[1:2], found.limits(x[1:2]))[0], p[1]), "rows do not feel each other"
    if masked:
        assert torch.equal(p.flatten(1)[:, ::3], x.flatten(1)[:, ::3])


@given(**CASE)  # type: ignore[arg-type]
@MANY
def test_the_projection_onto_a_patch_is_the_nearest_of_all_windows(
    seed: int, shape: tuple[int, ...], size: int | tuple[int, int], reach: float, masked: bool
) -> None:
    x, far = drawn(seed, shape, reach)
    allowed = fitted(size, shape, masked)
    found = body(allowed, x)
    p = found.project(x, far, found.limits(x))
    boxed = far.clamp(*found.limits(x))
    each = torch.where(windows(shape, allowed.size)[:, None], boxed, x)
    best = (each.double() - boxed.double()).flatten(2).norm(dim=2).amin(0)
    assert torch.allclose((p.double() - boxed.double()).flatten(1).norm(dim=1), best, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_projection_onto_pixels_is_the_nearest_of_all_choices(count: int) -> None:
    x, far = drawn(count, (3, 3, 3), 0.6)
    found = body(Ball(count, "l0", pixels=True), x)
    p, boxed = found.project(x, far, found.limits(x)), far.clamp(0, 1)
    each = torch.where(pixel_sets((3, 3, 3), count)[:, None], boxed, x)
    assert torch.allclose((p - boxed).flatten(1).norm(dim=1), (each - boxed).flatten(2).norm(dim=2).amin(0))


def test_what_a_window_holds_already_is_kept_to_the_last_bit() -> None:
    """A huge change in one corner of the window and a tiny one in the other: sums of squares alone would drop the second."""
    x = torch.zeros(1, 1, 6, 6)
    moved = x.clone()
    moved[0, 0, 1, 1], moved[0, 0, 3, 3] = 1.0, 1e-30
    found = body(Patch(3), x)
    assert torch.equal(found.project(x, moved, found.limits(x)), moved)


def test_a_cut_takes_a_radius_for_each_row() -> None:
    d = torch.randn(4, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    for allowed in (Patch((2, 4), -9, 9), Ball(4, "l0", -9, 9, pixels=True)):
        found = body(allowed, d)
        radii = torch.tensor([1.0, 2.0, 4.0, INF])
        cut = found.cut(d, radii, 3)
        for i in range(4):
            assert torch.equal(cut[i], found.cut(d[i : i + 1], float(radii[i]), 3)[0])
        assert (found.norm(cut, 3) <= radii).all()
        assert torch.equal(cut[3], d[3])


def test_a_smaller_patch_keeps_its_proportions() -> None:
    x = torch.zeros(1, 1, 12, 12)
    found = body(Patch((8, 4)), x).within(3.0)
    whole = torch.ones_like(x)
    inside = found.project(x, whole, found.limits(x))[0, 0].nonzero()
    assert (inside.amax(0) - inside.amin(0) + 1).tolist() == [3, 1]
    assert torch.equal(body(Patch((8, 4)), x).within(INF).project(x, whole, found.limits(x)), whole)


# ---- the steepest step ----------------------------------------------------------------------------------------------------------------


@given(**CASE)  # type: ignore[arg-type]
@MANY
def test_the_steepest_step_is_the_window_with_the_largest_sum_of_gains(
    seed: int, shape: tuple[int, ...], size: int | tuple[int, int], reach: float, masked: bool
) -> None:
    g = torch.Generator().manual_seed(seed)
    gradient, at = torch.randn(3, *shape, generator=g), torch.rand(3, *shape, generator=g)
    allowed = fitted(size, shape, masked=False)
    found = body(allowed, at)
    d = found.steepest(gradient, allowed.eps, (at, 1 - at))
    gain = torch.where(gradient > 0, gradient * (1 - at), -gradient * at)
    best = (gain * windows(shape, allowed.size)[:, None]).flatten(2).sum(2).amax(0)
    assert torch.allclose((d * gradient).flatten(1).sum(1), best, rtol=1e-4, atol=1e-5)
    assert (found.norm(d, 3) <= allowed.eps).all()
    assert ((at + d >= 0) & (at + d <= 1)).all()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_steepest_step_in_pixels_is_the_best_of_all_choices(count: int) -> None:
    g = torch.Generator().manual_seed(count)
    gradient, at = torch.randn(3, 2, 3, 3, generator=g), torch.rand(3, 2, 3, 3, generator=g)
    found = body(Ball(count, "l0", pixels=True), at)
    d = found.steepest(gradient, float(count), (at, 1 - at))
    gain = torch.where(gradient > 0, gradient * (1 - at), -gradient * at)
    best = (gain * pixel_sets((2, 3, 3), count)[:, None]).flatten(2).sum(2).amax(0)
    assert torch.allclose((d * gradient).flatten(1).sum(1), best)
    assert (found.norm(d, 3) <= count).all()


# ---- what cannot be -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "shape", "sentence"),
    [
        (Patch(3), (9,), "a patch needs images (channels, height, width); these inputs have shape (9,)"),
        (Patch((3, 5)), (1, 4, 4), "patch of 3 x 5 pixels is larger than the image, 4 x 4"),
        (Patch(2, mask=[True] * 3), (1, 4, 4), "mask: 3 values, and an input has 16 features"),
        (Ball(2, "l0", pixels=True), (3, 3), "pixels = true needs images (channels, height, width); these inputs have shape (3, 3)"),
        (Ball(17, "l0", pixels=True), (3, 4, 4), "eps = 17 pixels is more than the 16 an input has"),
    ],
)
def test_what_does_not_fit_the_inputs_is_refused(allowed: Ball | Patch, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(BadPlan) as error:
        body_of(allowed, torch.zeros(2, *shape))
    assert sentence in str(error.value)
