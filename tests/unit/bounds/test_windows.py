"""Seen through windows, a convolutional network has the same bounds as seen whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vauban.bounds import limits, network_of
from vauban.bounds.affine import Conv
from vauban.bounds.alpha import ancestors
from vauban.bounds.limits import Task, limits_of
from vauban.bounds.linear import lowest
from vauban.bounds.ops import Bend, matrix_of
from vauban.bounds.region import Region
from vauban.bounds.windows import Window, windows_of
from vauban.geometry import body_of
from vauban.target import Torch
from vauban.threat import Ball


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["conv", "residual", "pooled", "avgpool", "silu", "joined", "ceiled"])
def test_windows_and_the_whole_give_the_same_limits(build, name: str, norm: str) -> None:
    model, x = build(name, 1)
    network = network_of(Torch(model, outputs="logits"), x)
    region = Region.of(body_of(Ball(0.1, norm), x), x, torch.full((len(x),), 0.1, dtype=torch.float64))
    known = limits_of(network.ops, region, network.rounding, "interval")
    compared = 0
    for op in network.ops:
        if not isinstance(op, Bend):
            continue
        place = op.inputs[0]
        seen = windows_of(network.ops, ancestors(network.ops, place))
        if seen is None:
            continue
        task = Task(network.ops, known, region, place, lowest)
        everything = torch.ones_like(known[place].lo, dtype=torch.bool)
        whole = task.limits(everything, None)
        for one, other in zip(whole, task.limits(everything, seen), strict=True):
            # a window holds less of the ball than the input does: tighter by nothing, or by the rounding that is charged
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
        some = torch.rand_like(known[place].lo) > 0.7
        low, _ = task.limits(some, seen)
        torch.testing.assert_close(low[some], whole[0][some], rtol=0, atol=1e-9)
        compared += 1
    assert compared


def test_windows_are_used_where_they_are_cheaper(build, monkeypatch) -> None:
    model, x = build("conv", 0)
    network, used = network_of(Torch(model, outputs="logits"), x), []
    real = limits.view_of
    monkeypatch.setattr(limits, "view_of", lambda *args: used.append(args) or real(*args))
    wide = torch.rand(1, 2, 24, 24)
    network.bounds(x, x - 0.1, x + 0.1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 400, 2))
    network_of(Torch(model, outputs="logits"), wide).bounds(wide, wide - 0.1, wide + 0.1)
    assert used


def test_what_an_output_sees_grows_as_receptive_fields_do() -> None:
    """A 3x3 kernel of stride 2 over a 4x4 one of stride 2 and padding 1: 8 wide, in steps of 4, from 1 x 2 + 1 before."""
    two = Window((1, 1), (1, 1), (0, 0)).grown((3, 3), (2, 2), (1, 1), (1, 1)).grown((4, 4), (2, 2), (1, 1), (1, 1))
    assert two == Window((8, 8), (4, 4), (3, 3))
    assert two.joined(Window((1, 3), (4, 4), (0, 0))) == Window((8, 8), (4, 4), (3, 3))


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 1), (3, (2, 0), 1, 2), (2, 1, 2, 1), (1, 2, 2, 2)]
)
def test_the_transpose_of_a_convolution_is_its_transpose(stride, padding, dilation, groups) -> None:
    layer = nn.Conv2d(2, 4, (3, 2), stride, padding, dilation, groups)
    x = torch.rand(1, 2, 8, 9)
    (op,) = network_of(Torch(nn.Sequential(layer, nn.Flatten()), outputs="logits"), x).ops[:1]
    assert isinstance(op, Conv)
    weight, offset = matrix_of(op, (2, 8, 9))
    a = torch.randn(3, 2, *op.shape, dtype=torch.float64)
    torch.testing.assert_close(op.back(a)[0].flatten(2), a.flatten(2) @ weight)
    torch.testing.assert_close(op.offset(a), a.flatten(2) @ offset)
    size = torch.rand(2, 2, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(op.absolute(size).flatten(1), size.flatten(1) @ weight.abs().T)
