"""The memory layout of images: channels last where it is faster, the usual one where a model's code needs it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vauban.target import Torch


class Flattened(nn.Module):
    """A convolution whose output is viewed, not reshaped: a common idiom, which needs the usual layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.line = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.conv(x).relu().view(x.size(0), -1))


def test_a_model_that_needs_the_usual_layout_gets_it() -> None:
    model, x = Flattened(), torch.rand(5, 3, 8, 8)
    expected = model(x)
    target = Torch(model, outputs="logits")
    with target.held():
        assert torch.allclose(target.scores(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-6)
        v = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        target.smooth(v).sum().backward()
        assert v.grad is not None
    assert torch.allclose(model(x), expected, atol=1e-6)
    assert model.conv.weight.is_contiguous()


def test_other_errors_of_a_model_are_its_own() -> None:
    class Broken(Flattened):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        Torch(Broken()).scores(torch.rand(1, 3, 8, 8))
