"""What a module computes, written down in operations of our own, is what it computes; what cannot be is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.bounds import certify, network_of
from vauban.bounds.ops import Affine
from vauban.errors import BadTarget, Unsupported
from vauban.target import Function, Torch
from vauban.threat import Ball

IMAGE, VECTOR, SIGNAL = (3, 8, 8), (6,), (4, 12)


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
    "ceilings": (lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Flatten()), IMAGE),
    "ceilings beyond": (lambda: nn.Sequential(nn.MaxPool2d(3, 3, ceil_mode=True), nn.Flatten()), IMAGE),
    "uneven windows": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((3, 7)), nn.Flatten()), IMAGE),
    "more than there is": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(11), nn.Flatten()), IMAGE),
    "global maximum": (lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), IMAGE),
    "reflections": (lambda: nn.Sequential(conv(padding=2, padding_mode="reflect"), nn.Flatten()), IMAGE),
    "circles": (lambda: nn.Sequential(nn.Conv1d(4, 2, 3, 2, 2, padding_mode="circular"), nn.Flatten()), SIGNAL),
    "signal": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3, 2, 1, 2, 2), nn.MaxPool1d(2), nn.AdaptiveMaxPool1d(1), nn.Flatten()), SIGNAL),
    "signal functions": (
        lambda: Said(
            lambda m, x: F.avg_pool1d(F.max_pool1d(F.conv1d(x, m.c.weight, padding="same"), 3, 1), 4).flatten(1), c=nn.Conv1d(4, 3, 5)
        ),
        SIGNAL,
    ),
    "joined": (lambda: Said(lambda m, x: torch.cat([m.c(x), x[:, :2]], dim=1).mean((2, 3)), c=conv(padding=1)), IMAGE),
    "joined along height": (lambda: Said(lambda m, x: torch.cat((x, x, -x), -2).sum((1, 3))), IMAGE),
    "joined by name": (lambda: Said(lambda m, x: torch.cat(tensors=[x, 2 * x], dim=1)), VECTOR),
    "stacked": (lambda: Said(lambda m, x: torch.stack([x, m.w[:, 0] * x], 1).transpose(1, 2).reshape(-1, 12)), VECTOR),
    "stacked at the end": (lambda: Said(lambda m, x: torch.stack([x, -x], -1).flatten(1)), VECTOR),
    "chunks": (lambda: Said(lambda m, x: (x.chunk(3, dim=1)[0] - 2 * torch.chunk(x, 3, 1)[2]).flatten(1)), IMAGE),
    "splits": (lambda: Said(lambda m, x: torch.split(x, [2, 4], 1)[1] + x.split(4, 1)[0]), VECTOR),
    "indices": (lambda: Said(lambda m, x: x[:, torch.tensor([2, 2, 0])] - x[:, 3:] + x[..., ::2]), VECTOR),
    "shuffles": (lambda: Said(lambda m, x: F.pixel_shuffle(m.c(x), 2).permute(0, 2, 1, 3).flip(1).flatten(1), c=conv()), IMAGE),
    "padding": (
        lambda: nn.Sequential(
            nn.ZeroPad2d((1, 0, 2, 1)), nn.ReplicationPad2d(1), nn.UpsamplingNearest2d(scale_factor=2), conv(), nn.Flatten()
        ),
        IMAGE,
    ),
    "clamps": (
        lambda: Said(lambda m, x: x.clamp(0.2, 0.6) + x.clamp(max=0.5) - torch.clamp(x, 0.4) + x.clamp_min(0.1) - x.clamp_max(0.3)),
        VECTOR,
    ),
    "six": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU6(), nn.Linear(9, 9), nn.Hardsigmoid(), nn.Hardtanh(-0.1, 0.5), nn.PReLU()),
        VECTOR,
    ),
    "curves": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 9), nn.SiLU(), nn.Softplus(), nn.ELU(), nn.GELU("tanh")),
        VECTOR,
    ),
    "curves as functions": (
        lambda: Said(lambda m, x: F.gelu(x - 1) + F.silu(3 * x) - F.elu(x - 0.5) + F.softplus(-x, threshold=20)),
        VECTOR,
    ),
    "extremes": (lambda: Said(lambda m, x: torch.maximum(x, m.w[:, 0]) - torch.minimum(2 * x, x.abs() - 0.3)), VECTOR),
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


@pytest.mark.parametrize("form", FORMS)
def test_coefficients_go_back_through_every_affine_operation_as_its_transpose_says(form: str) -> None:
    """a.(W x) is (W' a).x, whatever the operation and its inputs."""
    torch.manual_seed(0)
    maker, shape = FORMS[form]
    network = network_of(Torch(maker().double().eval(), outputs="logits", channels_last=False), torch.rand(4, *shape, dtype=torch.float64))
    shapes = [network.shape, *(op.shape for op in network.ops)]
    for op in network.ops:
        if not isinstance(op, Affine):
            continue
        x = [torch.randn(2, *shapes[i], dtype=torch.float64) for i in op.inputs]
        a = torch.randn(3, 2, *op.shape, dtype=torch.float64)
        linear = op(*x) - op(*(torch.zeros_like(t) for t in x))
        back = sum((part * t).flatten(2).sum(2) for part, t in zip(op.back(a), x, strict=True))
        torch.testing.assert_close(back, (a * linear).flatten(2).sum(2))
        assert bool((op.absolute(*(t.abs() for t in x)) >= linear.abs() - 1e-12).all())


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
    "a module": (nn.Sequential(nn.Linear(6, 3), nn.Mish()), VECTOR, r"do not know Mish \(at 1\)"),
    "a nested module": (nn.Sequential(nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3))), VECTOR, r"do not know LayerNorm \(at 0\.1\)"),
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
    "uneven maxima": (nn.Sequential(nn.AdaptiveMaxPool2d(3), nn.Flatten()), IMAGE, "unequal size"),
    "edges filled with ones": (nn.Sequential(nn.ConstantPad2d(1, 1.0), nn.Flatten()), IMAGE, "only zeros"),
    "uneven averages": (nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), nn.Flatten()), IMAGE, "ceil_mode"),
    "another curve": (nn.ELU(0.5), VECTOR, "alpha 0.5"),
    "a slope a channel": (nn.PReLU(6), VECTOR, "slope for each channel"),
    "a reversed batch": (Said(lambda m, x: x.flip(0)), VECTOR, "flip across rows"),
    "a shifted batch": (Said(lambda m, x: torch.roll(x, 1)), VECTOR, "roll across rows"),
    "rows as columns": (Said(lambda m, x: x.transpose(0, 1)), (3,), "transpose across rows"),
    "rows joined": (Said(lambda m, x: torch.cat([x, x])[:3]), VECTOR, "rows are coupled"),
    "constants joined": (Said(lambda m, x: torch.cat([x, m.w.T[:3]], 1)), VECTOR, "cat of constants"),
    "several answers": (Said(lambda m, x: x.sort(1)[0]), VECTOR, "do not know sort"),
    "limits that move": (Said(lambda m, x: x.clamp(max=x - 1)), VECTOR, "depend on the input"),
    "smooth interpolation": (Said(lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear")), IMAGE, "only nearest"),
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
