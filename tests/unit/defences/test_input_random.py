"""Steps that draw: each row from its own noise, and gradients that are means over draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vauban.defences import random_resize_and_pad
from vauban.defences.input.random_resize_and_pad import Resized
from vauban.errors import BadData, NotGranted
from vauban.noise import RowNoise
from vauban.target import Function, Torch, default_surrogate
from vauban.target.random_step import RandomStep

X = torch.rand(40, 2, 10, 15, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(100, 140)


def found(seen: Tensor) -> tuple[int, int, int, int]:
    """Where a picture lies in its black frame: first row, first column, height, width."""
    rows, columns = (seen.sum((0, 2)) > 0).nonzero()[:, 0], (seen.sum((0, 1)) > 0).nonzero()[:, 0]
    return int(rows[0]), int(columns[0]), len(rows), len(columns)


def test_a_picture_is_resized_bilinearly_and_put_somewhere_whole() -> None:
    seen = Resized(0.5)(X, RowNoise(IDS, 0))
    sizes, places = set(), set()
    for before, after in zip(X, seen, strict=True):
        top, left, height, width = found(after)
        small = functional.interpolate(before[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        assert torch.allclose(after[:, top : top + height, left : left + width], small, atol=2e-5)
        sizes.add(height)
        places.add((top, left))
    assert sizes == {5, 6, 7, 8, 9, 10}
    assert len(places) > 15


def test_a_row_draws_from_its_own_noise() -> None:
    step = Resized(0.7)
    assert torch.equal(step(X, RowNoise(IDS, 0))[7:9], step(X[7:9], RowNoise(IDS[7:9], 0)))
    assert not torch.equal(step(X, RowNoise(IDS, 0)), step(X, RowNoise(IDS, 1)))


def test_every_question_draws_afresh_and_the_same_noise_answers_the_same() -> None:
    torch.manual_seed(0)
    target = random_resize_and_pad().around(Torch(nn.Sequential(nn.Flatten(), nn.Linear(300, 3)), outputs="logits"))
    noise = RowNoise(IDS, 0)
    assert torch.equal(target.scores(X, noise), target.scores(X, noise))
    assert not torch.allclose(target.scores(X, noise.at(torch.zeros(40))), target.scores(X, noise.at(torch.ones(40))))
    assert torch.equal(target.scores(X), target.scores(X)), "without noise of the caller's, rows are numbered"


def test_the_stand_in_is_the_mean_over_draws_of_its_own() -> None:
    """A linear model of x + noise: the gradient is the weight, the mean of many draws has little noise left."""
    torch.manual_seed(0)
    line = nn.Linear(4, 3)
    target = RandomStep(lambda x, draw: x + draw.normal(4), Torch(line, outputs="logits"), draws=400)
    x, noise = torch.rand(5, 4), RowNoise(torch.arange(5), 0)
    leaf = x.clone().requires_grad_()
    z = target.surrogate.smooth(leaf, noise)
    assert target.surrogate.passes == 400
    assert torch.allclose(z, line(x), atol=0.3)
    assert not torch.allclose(target.scores(x, noise), line(x), atol=0.3)
    z[:, 1].sum().backward()
    assert torch.allclose(leaf.grad, line.weight[1].expand(5, 4), atol=1e-5)
    with pytest.raises(NotGranted):
        target.smooth(x, noise)


def test_straight_through_a_random_step_that_has_no_gradient() -> None:
    torch.manual_seed(0)
    line = nn.Linear(4, 3)
    target = RandomStep(lambda x, draw: (x + draw.uniform(4)).round(), Torch(line, outputs="logits"), draws=3, differentiable=False)
    leaf = torch.rand(5, 4).requires_grad_()
    target.surrogate.smooth(leaf, RowNoise(torch.arange(5), 0))[:, 1].sum().backward()
    assert torch.allclose(leaf.grad, line.weight[1].expand(5, 4), atol=1e-5)


def test_labels_alone_are_enough_and_lend_no_gradient() -> None:
    black = Function(lambda x: x.reshape(len(x), -1)[:, :3].argmax(1), access="label", classes=3)
    target = random_resize_and_pad(least=0.9).around(black)
    target.prepare(X)
    assert default_surrogate(target) is None
    assert target.labels(X).shape == (40,)
    with pytest.raises(BadData, match="takes images"):
        target.labels(torch.rand(3, 9))


def test_the_fingerprint_knows_settings() -> None:
    base = Torch(nn.Sequential(nn.Flatten(), nn.Linear(300, 3)), outputs="logits")
    assert len({random_resize_and_pad(least=share).around(base).sha256() for share in (0.7, 0.8)}) == 2
