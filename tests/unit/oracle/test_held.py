"""A PyTorch model is frozen, in evaluation mode and laid out channels-last while it is attacked, and afterwards as it was, whatever happened."""

from __future__ import annotations

import pytest
import torch
from spine import siege
from torch import Tensor, nn

from vauban.attacks import pgd
from vauban.target import Torch
from vauban.threat import Access, Ball


class Net(nn.Module):
    """Something of everything that must be put back: batch norm, dropout, a frozen layer, and a part already in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.fixed = nn.Conv2d(4, 4, 3).requires_grad_(False)
        self.head = nn.Linear(64, 3)
        self.explodes = False

    def forward(self, x: Tensor) -> Tensor:
        if self.explodes:
            raise ValueError("boom")
        self.seen = (self.training, self.conv.weight.is_contiguous(memory_format=torch.channels_last), self.conv.weight.requires_grad)
        return self.head(self.fixed(self.drop(self.norm(self.conv(x)))).flatten(1))


def state(model: Net) -> dict[str, object]:
    return {
        "training": {n: m.training for n, m in model.named_modules()},
        "grad": {n: p.requires_grad for n, p in model.named_parameters()},
        "none": all(p.grad is None for p in model.parameters()),
        "strides": {n: p.stride() for n, p in model.named_parameters()},
        "values": {n: v.clone().flatten().tolist() for n, v in model.state_dict().items()},
    }


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    net = Net().train()
    net.drop.eval()
    return net


X, Y = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0])


def test_after_an_attack_the_model_is_as_it_was(model: Net) -> None:
    before = state(model)
    o = siege(Torch(model, outputs="logits"), Ball(0.3), x=X, y=Y)
    pgd(o, steps=3)
    assert model.seen == (False, True, False)
    assert state(model) == before


@pytest.mark.parametrize("where", ["scores", "smooth", "attack"])
def test_after_an_exception_the_model_is_as_it_was(model: Net, where: str) -> None:
    before, target = state(model), Torch(model, outputs="logits")
    o = siege(target, Ball(0.3), x=X, y=Y)
    model.explodes = True
    with pytest.raises(ValueError, match="boom"):
        pgd(o, steps=3) if where == "attack" else getattr(target, where)(X)
    model.explodes = False
    assert state(model) == before
    assert torch.isfinite(target.scores(X)).all()


def test_holds_nest(model: Net) -> None:
    before, target = state(model), Torch(model, outputs="logits")
    with target.held():
        with target.held():
            assert not model.training
        assert not model.training
        assert not model.conv.weight.requires_grad
    assert state(model) == before


def test_answers_do_not_depend_on_the_layout(model: Net) -> None:
    plain, last = Torch(model, outputs="logits", channels_last=False), Torch(model, outputs="logits")
    with last.held():
        assert torch.allclose(last.scores(X), plain.scores(X), atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_probes_and_steps_work_in_either_layout(model: Net, norm: str) -> None:
    def walk(channels_last: bool) -> Tensor:
        o = siege(
            Torch(model, outputs="logits", channels_last=channels_last),
            Ball({"linf": 0.1, "l0": 5}.get(norm, 1.0), norm),
            x=X,
            y=Y,
            settle="nearest",
        )
        with o.attacking("walk", Access.GRADIENT):
            v = torch.stack([o.x, o.x.flip(0)])
            for size in (o.eps / 2, torch.full((len(o),), o.eps / 2)):
                _, g = o.ascend(v)
                v = o.project(v + o.steepest(g, v, size))
                o.jacobian(v)
                o.fooled(v)
        return v

    assert torch.allclose(walk(True), walk(False), atol=1e-5)
