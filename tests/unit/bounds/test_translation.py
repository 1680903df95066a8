"""What a module computes, written down in operations of our own, is what it computes; what cannot be is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.bounds import certify, network_of
from vauban.errors import BadTarget, Unsupported
from vauban.target import Function, Torch
from vauban.threat import Ball

IMAGE, VECTOR = (3, 8, 8), (6,)


class Said(nn.Module):
    """A forward pass in a line."""

    def __init__(self, forward: Callable[[Said, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.said = forward
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.w = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.said(self, x)


def conv(out: int = 4, k: int = 3, **more: object) -> nn.Conv2d:
    return nn.Conv2d(3, out, k, **more)  # type: ignore[arg-type]


FORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "functions": (lambda: Said(lambda m, x: m.fc(torch.flatten(F.relu(m.c(x)), 1)), c=conv(), fc=nn.Linear(144, 3)), IMAGE),
    "methods": (lambda: Said(lambda m, x: m.fc(m.c(x).relu().view(x.size(0), -1)), c=conv(), fc=nn.Linear(144, 3)), IMAGE),
    "shape": (lambda: Said(lambda m, x: m.fc(m.c(x).reshape(x.shape[0], -1)), c=conv(), fc=nn.Linear(144, 3)), IMAGE),
    "normalised": (lambda: Said(lambda m, x: m.c((x - m.mean) / 0.3).mean((2, 3)), c=conv()), IMAGE),
    "arithmetic": (lambda: Said(lambda m, x: 1 - 2 * (-x + 0.5) / 4 - x.mul(0.1)), VECTOR),
    "matrix": (lambda: Said(lambda m, x: F.relu(x @ m.w) + torch.matmul(x, m.w)), VECTOR),
    "vector": (lambda: Said(lambda m, x: x.view(-1, 3, 2) @ m.w[0, :2]), VECTOR),
    "same": (lambda: Said(lambda m, x: m.c(x).sum((-1, -2)), c=conv(padding="same", dilation=2)), IMAGE),
    "global": (lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGE),
    "adaptive": (lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(2), nn.Flatten()), IMAGE),
    "average": (lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Flatten()), IMAGE),
    "padded": (lambda: Said(lambda m, x: F.avg_pool2d(x, 3, stride=2, padding=1).flatten(1)), IMAGE),
    "maximum": (lambda: Said(lambda m, x: F.max_pool2d(x, kernel_size=3, stride=2, padding=1).flatten(1)), IMAGE),
    "squeezed": (lambda: Said(lambda m, x: F.adaptive_avg_pool2d(m.c(x), (1, 1)).squeeze(-1).squeeze(-1), c=conv()), IMAGE),
    "normed": (lambda: nn.Sequential(conv(), nn.BatchNorm2d(4, affine=False), nn.Dropout(), nn.Flatten(), nn.BatchNorm1d(144)), IMAGE),
    "functional norm": (
        lambda: Said(lambda m, x: F.batch_norm(x, m.bn.running_mean, m.bn.running_var, eps=0.1), bn=nn.BatchNorm1d(6)),
        VECTOR,
    ),
    "twice": (lambda: Said(lambda m, x: m.fc(x) + m.fc(x).sigmoid() - torch.tanh(m.fc(x)), fc=nn.Linear(6, 3)), VECTOR),
    "unused": (lambda: Said(lambda m, x: (m.fc(x), m.fc(x) * 2)[0], fc=nn.Linear(6, 3)), VECTOR),
    "bare": (lambda: nn.Linear(6, 3), VECTOR),
    "nothing": (nn.Identity, VECTOR),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(3, 6, (3, 2), (2, 1), (1, 0), groups=3, bias=False), nn.LeakyReLU(), nn.Flatten()), IMAGE),
    "parametrised": (lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3))), VECTOR),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_network_computes_what_the_module_does(form: str) -> None:
    torch.manual_seed(0)
    maker, shape = FORMS[form]
    model, x = maker().double().eval(), torch.rand(4, *shape, dtype=torch.float64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    network = network_of(Torch(model, outputs="logits", channels_last=False), x)  # `view` needs the usual layout
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-6, atol=1e-6)  # constants of the model are float32
    limits = network.bounds(x, x - 0.01, x + 0.01)[-1]
    inside = x + 0.02 * (torch.rand_like(x) - 0.5)
    assert bool(((model(inside) >= limits.lo) & (model(inside) <= limits.hi)).all())


def test_the_normalisation_of_the_target_is_part_of_the_network() -> None:
    target = Torch(nn.Sequential(conv(), nn.Flatten()), outputs="logits", mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    x = torch.rand(3, *IMAGE)
    torch.testing.assert_close(network_of(target, x)(x).float(), target.scores(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "tail"),
    [
        ("probabilities", nn.Softmax(1)),
        ("log-probabilities", nn.LogSoftmax(-1)),
        ("sigmoid", nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())),
        ("binary-logit", nn.Linear(3, 1)),
        ("binary-logit", nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))),
        ("auto", nn.Softmax(1)),
    ],
)
def test_ends_of_other_kinds_keep_their_order(kind: str, tail: nn.Module) -> None:
    torch.manual_seed(0)
    target = Torch(nn.Sequential(nn.Linear(6, 3), tail), outputs=kind)
    x = torch.rand(20, 6)
    y = target.labels(x)
    z = network_of(target, x)(x)
    torch.testing.assert_close(z.softmax(1), target.scores(x).double().softmax(1), rtol=1e-4, atol=1e-4)
    found = certify(target, x, y, Ball(0.001))
    assert found.certified.float().mean() > 0.8
    assert not certify(target, x, 1 - y.clamp_max(1), Ball(0.001)).certified.any()


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Two(nn.Module):
    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        return x


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "a module": (nn.Sequential(nn.Linear(6, 3), nn.GELU()), VECTOR, r"do not know GELU \(at 1\)"),
    "a nested module": (nn.Sequential(nn.Sequential(nn.Linear(6, 3), nn.SiLU())), VECTOR, r"do not know SiLU \(at 0\.1\)"),
    "a function": (nn.Sequential(Said(lambda m, x: torch.exp(x))), VECTOR, r"do not know exp \(at 0: exp\)"),
    "a method": (Said(lambda m, x: x.cumsum(1)), VECTOR, "do not know cumsum"),
    "a product": (Said(lambda m, x: x * x), VECTOR, "do not know mul of two values"),
    "a quotient": (Said(lambda m, x: 1 / x), VECTOR, "do not know truediv by a value"),
    "a coupling": (Said(lambda m, x: x - x.mean(0)), VECTOR, "do not know mean"),
    "a mean of all": (Said(lambda m, x: x - x.mean()), VECTOR, "do not know mean"),
    "a branch": (Branches(), VECTOR, "does it branch on its input"),
    "a softmax inside": (nn.Sequential(nn.Softmax(1), nn.Linear(6, 3)), VECTOR, "do not know Linear after a softmax"),
    "a softmax of logits": (nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), VECTOR, "outputs of kind 'logits'"),
    "statistics of the batch": (nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False)), VECTOR, "statistics of the batch"),
    "dropout left on": (Said(lambda m, x: F.dropout(x, 0.5)), VECTOR, "on in evaluation mode"),
    "steep leaks": (nn.LeakyReLU(2.0), VECTOR, "slope 2 outside"),
    "reflections": (nn.Sequential(conv(padding=1, padding_mode="reflect"), nn.Flatten()), IMAGE, "padding_mode='reflect'"),
    "ceilings": (nn.Sequential(nn.MaxPool2d(3, ceil_mode=True), nn.Flatten()), IMAGE, "ceil_mode"),
    "uneven windows": (nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()), IMAGE, "unequal size"),
    "two inputs": (Two(), VECTOR, "second input"),
    "a tuple": (Said(lambda m, x: (x, x)), VECTOR, "one tensor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_operator_that_is_not_known_is_refused_by_name_and_place(case: str) -> None:
    model, shape, message = REFUSED[case]
    with pytest.raises((Unsupported, BadTarget), match=message):
        network_of(Torch(model.eval(), outputs="logits"), torch.rand(4, *shape))


def test_only_modules_have_bounds() -> None:
    with pytest.raises(Unsupported, match="bounds are of PyTorch modules"):
        network_of(Function(lambda x: x.numpy(), name="f"), torch.rand(2, 6))


def test_a_module_that_changes_its_values_in_place_is_found_out() -> None:
    model = Said(lambda m, x: F.relu(y := m.fc(x), inplace=True) + y, fc=nn.Linear(6, 3))
    with pytest.raises(BadTarget, match="in place"):
        network_of(Torch(model, outputs="logits"), torch.rand(4, 6))


def test_a_hook_is_found_out() -> None:
    model = nn.Sequential(nn.Linear(6, 3))
    model[0].register_forward_hook(lambda m, a, z: z + 1)
    with pytest.raises(BadTarget, match="hooks"):
        network_of(Torch(model, outputs="logits"), torch.rand(4, 6))


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    network_of(Torch(model, outputs="logits"), torch.rand(4, *IMAGE))
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
