"""Rotations and translations: whole pixels and right angles are exact, and the gradient points the way."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage

from vauban.errors import BadData, BadPlan
from vauban.geometry import space_of
from vauban.threat import Transformations

X = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))


def space(rotation: float = 0, translation: float = 0.3, lo: float = 0.0, x: torch.Tensor = X):
    return space_of(Transformations(rotation, translation, lo=lo), x)


def test_nothing_is_moved_at_zero() -> None:
    for x in (X, torch.rand(2, 1, 5, 8, generator=torch.Generator().manual_seed(1))):
        s = space(30, 0.1, x=x)
        assert torch.allclose(s.decode(x, s.start(x)), x, atol=1e-6)
        assert s.start(x).shape == (2, 3)
        assert (s.start(x) == 0).all()


@pytest.mark.parametrize("down", [-3, -1, 0, 2])
@pytest.mark.parametrize("right", [-2, 0, 3])
@pytest.mark.parametrize("lo", [0.0, -1.0])
def test_a_shift_by_whole_pixels_is_a_roll_inside_the_frame(down: int, right: int, lo: float) -> None:
    s = space(lo=lo)
    moved = s.decode(X, torch.tensor([[0.0, down / 3, right / 3]]).expand(2, 3))
    rolled = torch.roll(X, (down, right), (2, 3))
    inside = torch.zeros(10, 10, dtype=torch.bool)
    inside[max(down, 0) : 10 + min(down, 0), max(right, 0) : 10 + min(right, 0)] = True
    assert torch.allclose(moved[..., inside], rolled[..., inside], atol=1e-5)
    assert torch.allclose(moved[..., ~inside], torch.tensor(lo), atol=1e-5), "outside the frame is the least value"


@pytest.mark.parametrize(("share", "turns"), [(0.5, 1), (1.0, 2), (-0.5, -1)])
def test_a_rotation_by_right_angles_is_rot90(share: float, turns: int) -> None:
    moved = space(180, 0).decode(X, torch.tensor([[share, 0.0, 0.0]]).expand(2, 3))
    assert torch.allclose(moved, torch.rot90(X, turns, (2, 3)), atol=1e-4)


def test_a_rotation_of_a_frame_that_is_not_square_is_rigid() -> None:
    """Against scipy's rotation, which works in pixels."""
    x = torch.zeros(1, 1, 21, 41)
    x[0, 0, 6:15, 12:29] = torch.rand(9, 17, generator=torch.Generator().manual_seed(2))
    moved = space_of(Transformations(30, 0), x).decode(x, torch.tensor([[1.0, 0.0, 0.0]]))[0, 0]
    exact = torch.from_numpy(ndimage.rotate(x[0, 0].numpy(), 30, reshape=False, order=1))
    assert torch.allclose(moved, exact, atol=1e-4)


def test_the_gradient_of_a_shift_is_the_slope_of_the_picture() -> None:
    ramp = torch.linspace(0, 0.9, 10).expand(1, 1, 10, 10).contiguous()
    s = space(translation=0.3)
    v = torch.zeros(1, 3, requires_grad=True)
    s.decode(ramp, v)[0, 0, 5, 5].backward()
    assert v.grad is not None
    assert float(v.grad[0, 2]) == pytest.approx(-0.3 * 10 * 0.1, abs=1e-4), "three pixels at the limit, a tenth each, against the slope"
    assert float(v.grad[0, 1]) == pytest.approx(0, abs=1e-5)


def test_what_may_not_change_does_not() -> None:
    turn, shift = space(30, 0), space(0, 0.1)
    for s, free in ((turn, [True, False, False]), (shift, [False, True, True])):
        v0 = s.start(X)
        p = s.body.project(v0, v0 + 7, s.body.limits(v0))
        assert p[0].tolist() == [float(f) for f in free]
    both = space(30, 0.1)
    assert both.body.mask is None
    assert (both.body.distance(both.start(X), both.start(X) + 0.5) == 0.5).all()


def test_decoded_inputs_stay_in_the_box() -> None:
    s = space(45, 0.2)
    v = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    moved = s.decode(X[:1].expand(50, -1, -1, -1), v)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert math.isfinite(float(moved.sum()))


def test_only_images_can_be_turned() -> None:
    with pytest.raises(BadData, match="need images"):
        space().start(torch.zeros(3, 7))
    with pytest.raises(BadPlan, match="nothing may change"):
        Transformations(0, 0)
