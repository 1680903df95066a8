"""Median, Gaussian and total variation filters against SciPy, closed forms and optimality."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from vauban.defences import gaussian_smoothing, median_smoothing, total_variation
from vauban.defences.input.gaussian_smoothing import Blur
from vauban.defences.input.median_smoothing import Median
from vauban.defences.input.total_variation import Painted, PaintedFromSome, _differences, _divergence, painted
from vauban.errors import BadData
from vauban.noise import RowNoise
from vauban.target import Torch

X = torch.rand(3, 2, 9, 11, generator=torch.Generator().manual_seed(0))


def per_plane(f, x: Tensor) -> Tensor:
    return torch.stack([torch.stack([torch.from_numpy(f(plane.numpy())) for plane in picture]) for picture in x])


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_median_is_scipys(size: int) -> None:
    assert torch.equal(Median(size)(X), per_plane(lambda p: ndimage.median_filter(p, size, mode="mirror"), X))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_the_blur_is_scipys(sigma: float) -> None:
    theirs = per_plane(lambda p: ndimage.gaussian_filter(p, sigma, mode="mirror", radius=-int(-3 * sigma // 1)), X)
    assert torch.allclose(Blur(sigma)(X), theirs, atol=1e-5)


def test_the_gradient_of_the_median_goes_to_the_pixels_that_are_medians() -> None:
    leaf = X.clone().requires_grad_()
    Median(3)(leaf).sum().backward()
    assert leaf.grad is not None
    assert float(leaf.grad.sum()) == X.numel()
    assert (leaf.grad >= 0).all()


@pytest.mark.parametrize("step", [Median(15), Blur(1.0), Painted(0.1, 5)])
def test_filters_refuse_vectors(step) -> None:
    with pytest.raises(BadData, match="takes images"):
        step(torch.rand(4, 9))
    with pytest.raises(BadData, match="8 x 8 and more"):
        Median(15)(torch.rand(1, 1, 7, 30))


# ---- total variation ----------------------------------------------------------------------------------------------------------------------


def objective(z: Tensor, x: Tensor, kept: Tensor, weight: float) -> Tensor:
    down, right = _differences(z)
    variation = (down**2 + right**2).sqrt().sum((1, 2, 3))
    return weight * variation + (kept * (z - x) ** 2).sum((1, 2, 3)) / 2


def test_the_divergence_is_minus_the_adjoint_of_the_differences() -> None:
    g = torch.Generator().manual_seed(1)
    z = torch.rand(2, 1, 6, 7, generator=g, dtype=torch.float64)
    down, right = _differences(torch.rand(2, 1, 6, 7, generator=g, dtype=torch.float64))
    d, r = _differences(z)
    assert float((d * down + r * right).sum()) == pytest.approx(-float((z * _divergence(down, right)).sum()))


def test_two_halves_move_towards_each_other_by_the_closed_form() -> None:
    """An image of two flat halves, h x w each: each gives way by weight / w, since only the edge of length h varies."""
    x = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    x[..., 4:] = 1
    z = painted(x, torch.ones_like(x), 0.4, 3000)
    assert torch.allclose(z[..., :4], torch.full((), 0.1, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(z[..., 4:], torch.full((), 0.9, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_nothing_near_is_better_than_the_minimiser(drop: float) -> None:
    g = torch.Generator().manual_seed(2)
    x = torch.rand(2, 1, 6, 6, generator=g, dtype=torch.float64)
    kept = (torch.rand(2, 1, 6, 6, generator=g) >= drop).double()
    z = painted(x, kept, 0.1, 4000)
    least = objective(z, x, kept, 0.1)
    for size in (1e-4, 1e-3, 1e-2, 0.1):
        for _ in range(25):
            other = z + size * torch.randn(z.shape, generator=g, dtype=torch.float64)
            assert (objective(other, x, kept, 0.1) >= least - 1e-6).all()
    soon = painted(x, kept, 0.1, 30)
    assert (objective(soon, x, kept, 0.1) <= 1.02 * least + 1e-3).all(), "thirty steps are enough"


def test_a_flat_image_stays_and_the_mean_is_kept() -> None:
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(Painted(0.1, 20)(flat), flat, atol=1e-6)
    assert torch.allclose(Painted(0.1, 200)(X).mean((2, 3)), X.mean((2, 3)), atol=1e-4)


def test_dropped_pixels_do_not_matter() -> None:
    step, ids = PaintedFromSome(0.05, 20, 0.5), torch.arange(3)
    kept = RowNoise(ids, 7).uniform(1, 9, 11) >= 0.5
    other = torch.where(kept, X, torch.rand(X.shape, generator=torch.Generator().manual_seed(5)))
    assert not torch.equal(other, X)
    assert torch.equal(step(X, RowNoise(ids, 7)), step(other, RowNoise(ids, 7)))
    assert not torch.allclose(step(X, RowNoise(ids, 7)), step(X, RowNoise(ids, 8)), atol=1e-3)


def test_it_is_random_only_where_it_drops_pixels() -> None:
    net = Torch(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), outputs="logits")
    assert total_variation(drop=0).around(net).randomised is False
    assert total_variation(drop=0.2, draws=4).around(net).randomised is True
    for made in (median_smoothing(), gaussian_smoothing()):
        assert made.around(net).randomised is False
