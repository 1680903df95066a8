"""Our JPEG against Pillow's, its gradient against finite differences, and an attack through it against attacks straight through the real one."""

from __future__ import annotations

import math

import pytest
import torch
from broken_defences import digits, held_out, torch_target, undefended
from torch import Tensor

from vauban.attacks import pgd
from vauban.defences import jpeg
from vauban.defences.input.differentiable_jpeg import CHROMA, COSINES, LUMA, SoftJpeg, bent, table
from vauban.defences.input.jpeg import Jpeg
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan
from vauban.target import StraightThrough, Surrogate
from vauban.threat import Ball, Threat


def pictures(n: int = 6, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """Colour gradients with edges and some noise: what no JPEG ever compressed."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 5, 5, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    edges = (torch.rand(n, 1, height, 1, generator=g) < 0.2).float() * 0.2
    return (smooth * 0.8 + edges + 0.02 * torch.randn(n, channels, height, width, generator=g)).clamp(0, 1)


@pytest.mark.parametrize("quality", [95, 75, 50, 20, 5])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 28, 28), (3, 27, 21), (1, 9, 17), (3, 8, 8)])
def test_with_a_hard_rounding_it_is_the_codec(quality: int, channels: int, height: int, width: int) -> None:
    x = pictures(channels=channels, height=height, width=width)
    real, ours = Jpeg(quality)(x), SoftJpeg(quality, torch.round)(x)
    off, damage = (real - ours).abs() * 255, float((real - x).abs().mean()) * 255
    if channels == 1:
        assert float(off.mean()) < 1
    else:  # a colour that is rounded to 8 bits on the way may fall into the next step
        assert float(off.median()) < 1.5
        assert float(off.mean()) < min(3, 0.3 * damage)


@pytest.mark.parametrize("quality", [75, 20])
def test_the_soft_one_is_nearer_to_the_codec_than_doing_nothing(quality: int) -> None:
    x = pictures()
    real, soft = Jpeg(quality)(x), SoftJpeg(quality)(x)
    assert float((real - soft).abs().mean()) < 0.75 * float((real - x).abs().mean())


def test_tables_are_those_of_the_standard() -> None:
    assert table(LUMA, 50).equal(LUMA)
    assert table(CHROMA, 50).equal(CHROMA)
    assert table(LUMA, 100).unique().tolist() == [1]
    assert int(table(LUMA, 1).max()) == 255, "no step is wider than a byte"
    assert table(LUMA, 25)[0].tolist() == [32, 22, 20, 32, 48, 80, 102, 122]
    assert table(LUMA, 90)[0].tolist() == [3, 2, 2, 3, 5, 8, 10, 12]


def test_the_cosine_transform_is_orthonormal_and_its_first_row_the_mean() -> None:
    assert torch.allclose(COSINES @ COSINES.T, torch.eye(8, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(COSINES[0], torch.full((8,), 1 / math.sqrt(8), dtype=torch.float64))


@pytest.mark.parametrize("power", [2, 3])
def test_the_bent_rounding_agrees_at_whole_and_half_numbers_and_rises(power: int) -> None:
    whole = torch.arange(-3.0, 4.0)
    assert torch.equal(bent(whole, power), whole)
    near = 0.4999
    assert torch.allclose(bent(whole + near, power), whole + 0.5, atol=2e-3)
    v = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    assert (bent(v, power).diff() >= 0).all()


@pytest.mark.parametrize("quality", [75, 20])
def test_the_gradient_is_that_of_finite_differences(quality: int) -> None:
    """The soft codec in double precision, along random directions."""
    x = (pictures(2, 3, 19, 22) * 0.8 + 0.1).double()
    soft = SoftJpeg(quality, clamps=False)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((soft(leaf) * weights).sum(), leaf)
    for seed in range(4):
        d = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        h = 1e-7
        slope = ((soft(x + h * d) - soft(x - h * d)) * weights).sum() / (2 * h)
        assert float(slope) == pytest.approx(float((gradient * d).sum()), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("quality", "channels"), [(75, 3), (20, 3), (50, 1)])
def test_its_gradient_is_hardly_anywhere_zero(quality: int, channels: int) -> None:
    leaf = pictures(channels=channels).requires_grad_()
    weights = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1))
    (SoftJpeg(quality, clamps=False)(leaf) * weights).sum().backward()
    assert leaf.grad is not None
    assert float((leaf.grad != 0).float().mean()) > 0.99
    assert torch.isfinite(leaf.grad).all()


def test_pictures_of_a_batch_do_not_touch() -> None:
    x = pictures(4, 3, 13, 11)
    for codec in (Jpeg(40), SoftJpeg(40)):
        assert torch.allclose(codec(x)[2:3], codec(x[2:3]), atol=1e-6)
    assert Jpeg(40)(x[:0]).shape == (0, 3, 13, 11)


def test_what_is_no_picture_is_refused() -> None:
    for bad, why in (
        (torch.rand(2, 9), "takes images"),
        (torch.rand(2, 4, 8, 8), "1 or 3 channels"),
        (torch.rand(2, 1, 8, 8) * 255, r"\[0, 1\]"),
    ):
        with pytest.raises(BadData, match=why):
            Jpeg(75)(bad)
    with pytest.raises(BadPlan, match="quality"):
        jpeg(quality=0)


def test_an_attack_through_it_finds_what_straight_through_misses() -> None:
    """On digits, whose 8 x 8 pixels are one block: the real codec of quality 20, three gradients, the same attack."""
    x, y = held_out()
    assert len(digits()[0]) > len(x)
    base = torch_target(undefended())
    behind = jpeg(quality=20).around(base)

    def stands(surrogate: Surrogate | None) -> int:
        o = Oracle(behind, x, y, Threat("insider", Ball(0.1)), surrogate=surrogate)
        pgd(loss="margin")(o)
        return int((~o.outcome.broken).sum())

    tailored, identity, naive = stands(None), stands(StraightThrough(Jpeg(20), base)), stands(base)
    assert tailored <= 0.85 * identity
    assert tailored <= 0.85 * naive
