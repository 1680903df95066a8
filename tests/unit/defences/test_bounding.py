"""The laws of bounds in training: those of the sound bounds but for rounding, never exceeded, exact for one layer, and differentiable."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vauban.bounds import network_of
from vauban.defences.training.bounding import Bounded, bounded, region_of
from vauban.defences.training.trainee import Trainee
from vauban.errors import BadPlan, Unsupported
from vauban.target import Torch
from vauban.threat import Ball, Goal, Threat

torch.set_num_threads(1)


class Residual(nn.Module):
    """Convolutions, batch norms, both poolings, and a sum around some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, 1, 1), nn.BatchNorm2d(4)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.most, self.mean = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.drop, self.line = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.inner(x))
        return self.line(self.drop(self.mean(self.most(x)).flatten(1)))


def made(seed: int, kind: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A random network in float64, six rows and their classes."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = {
            "dense": lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 8), nn.LeakyReLU(0.1), nn.Linear(8, 3)
            ),
            "residual": Residual,
        }[kind]()
        return model.double(), torch.rand(6, 1, 8, 8, dtype=torch.float64), torch.randint(3, (6,))


def boxes(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> tuple[Bounded, Tensor, Tensor]:
    found = bounded(Trainee(model, outputs="logits"), x)
    return found, *region_of(Threat("t", Ball(eps)), x, y)


def frozen(model: nn.Module, x: Tensor) -> nn.Module:
    """The model in evaluation mode, its batch norms with the statistics of this batch."""
    seen: dict[nn.Module, Tensor] = {}
    hooks = [m.register_forward_pre_hook(lambda m, a: seen.update({m: a[0]})) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        model.train()(x)
    for hook in hooks:
        hook.remove()
    for m, t in seen.items():
        m.running_mean, m.running_var = t.mean((0, 2, 3)), t.var((0, 2, 3), correction=0)  # type: ignore[assignment]
    return model.eval()


@pytest.mark.parametrize("kind", ["dense", "residual"])
def test_intervals_in_training_are_the_sound_ones_but_for_rounding(kind: str) -> None:
    model, x, y = made(0, kind)
    found, lo, hi = boxes(model, x, y, 0.05)
    sound = network_of(Torch(frozen(model, x), outputs="logits"), x).bounds(x, lo, hi, "interval")
    mine = found.limits(lo, hi)
    assert len(mine) == len(sound)
    for a, b in zip(mine, sound, strict=True):
        assert torch.allclose(a.lo, b.lo, atol=1e-8) and torch.allclose(a.hi, b.hi, atol=1e-8)


def test_the_margins_of_one_linear_layer_are_exact() -> None:
    model, x, y = nn.Linear(5, 4).double(), torch.rand(7, 5, dtype=torch.float64), torch.arange(7) % 4
    found, lo, hi = boxes(model, x, y, 0.1)
    w = model.weight[y][:, None] - model.weight
    exact = (w * ((lo + hi) / 2)[:, None]).sum(2) - (w.abs() * ((hi - lo) / 2)[:, None]).sum(2) + model.bias[y][:, None] - model.bias
    known = found.limits(lo, hi)
    assert torch.allclose(found.margins(known, y), exact, atol=1e-12)
    assert torch.allclose(found.cross_entropy(known, y), nn.functional.cross_entropy(-exact, y, reduction="none"), atol=1e-12)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["dense", "residual"]), st.floats(0.001, 0.4))
def test_nothing_in_the_box_exceeds_a_bound(seed: int, kind: str, eps: float) -> None:
    model, x, y = made(seed, kind)
    found, lo, hi = boxes(model, x, y, eps)
    known = found.limits(lo, hi)
    margins, interval, crown = found.margins(known, y), found.cross_entropy(known, y), found.crown_cross_entropy(known, y)
    assert bool((crown <= interval + 1e-9).all())
    model = frozen(model, x)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(20):
        share = torch.rand(x.shape, generator=draw, dtype=torch.float64)
        inside = lo + (hi - lo) * (share if draw.initial_seed() % 2 else share.round())
        z = model(inside)
        assert bool((z >= known[-1].lo - 1e-9).all()) and bool((z <= known[-1].hi + 1e-9).all())
        assert bool((z.gather(1, y[:, None]) - z >= margins - 1e-9).all())
        assert bool((nn.functional.cross_entropy(z, y, reduction="none") <= crown + 1e-9).all())


def test_at_radius_nothing_bounds_are_the_answers_themselves() -> None:
    model, x, y = made(3, "residual")
    found = bounded(Trainee(model, outputs="logits"), x)
    known = found.limits(x, x)
    z = frozen(model, x)(x)
    for bound in (found.cross_entropy(known, y), found.crown_cross_entropy(known, y)):
        assert torch.allclose(bound, nn.functional.cross_entropy(z, y, reduction="none"), atol=1e-6)


@pytest.mark.parametrize("kind", ["dense", "residual"])
@pytest.mark.parametrize("which", ["cross_entropy", "crown_cross_entropy"])
def test_gradients_in_the_parameters_are_those_of_finite_differences(kind: str, which: str) -> None:
    model, x, y = made(5, kind)
    parameters = list(model.parameters())
    trainee = Trainee(model, outputs="logits")
    lo, hi = region_of(Threat("t", Ball(0.03)), x, y)

    def loss() -> Tensor:
        found = bounded(trainee, x)
        return getattr(found, which)(found.limits(lo, hi), y).mean()

    slopes = torch.autograd.grad(loss(), parameters)
    draw = torch.Generator().manual_seed(1)
    ways = [torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in parameters]
    size = 1e-7
    ends: list[float] = []
    for sign in (1, -2):
        with torch.no_grad():
            for p, way in zip(parameters, ways, strict=True):
                p.add_(sign * size * way)
        ends.append(float(loss().detach()))
    assert (ends[0] - ends[1]) / (2 * size) == pytest.approx(float(sum((s * w).sum() for s, w in zip(slopes, ways, strict=True))), rel=1e-4)


def test_a_model_is_written_down_once_and_bounds_follow_its_weights() -> None:
    model, x, y = made(2, "dense")
    trainee = Trainee(model, outputs="logits")
    first = bounded(trainee, x)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)
    again, fresh = bounded(trainee, x), bounded(Trainee(model, outputs="logits"), x)
    lo, hi = region_of(Threat("t", Ball(0.05)), x, y)
    assert again.ops is first.ops and fresh.ops is not first.ops
    assert torch.equal(again.margins(again.limits(lo, hi), y), fresh.margins(fresh.limits(lo, hi), y))


def test_mixed_precision_does_not_reach_the_bounds() -> None:
    model, x, y = made(2, "dense")
    model, x = model.float(), x.float()
    found = bounded(Trainee(model, outputs="logits"), x)
    lo, hi = region_of(Threat("t", Ball(0.05)), x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = found.cross_entropy(found.limits(lo, hi), y)
    assert torch.equal(low, found.cross_entropy(found.limits(lo, hi), y))


def test_modes_are_kept_and_running_statistics_learn_from_the_clean_batch_alone() -> None:
    model, x, _ = made(4, "residual")
    twin, _, _ = made(4, "residual")
    bounded(Trainee(model, outputs="logits"), x)
    assert all(m.training for m in model.modules())
    twin.train()(x)
    for name, buffer in twin.named_buffers():
        assert torch.equal(dict(model.named_buffers())[name], buffer), name


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(("model", "named"), [(Fourier(), "fft_rfft"), (Branching(), "branch"), (nn.LayerNorm(4), "layer_norm")])
def test_an_unknown_operator_is_named(model: nn.Module, named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        bounded(Trainee(model, outputs="logits"), torch.rand(3, 4))


def test_the_box_is_the_ball_inside_its_limits_and_only_around_rows_of_the_goal() -> None:
    x, y = torch.tensor([[0.05, 0.5], [0.5, 0.95], [0.5, 0.5]]), torch.tensor([0, 1, 0])
    ball = Ball(0.1, mask=(True, False))
    lo, hi = region_of(Threat("t", ball), x, y)
    assert torch.allclose(lo, torch.tensor([[0.0, 0.5], [0.4, 0.95], [0.4, 0.5]]))
    assert torch.allclose(hi, torch.tensor([[0.15, 0.5], [0.6, 0.95], [0.6, 0.5]]))
    lo, hi = region_of(Threat("t", ball, goal=Goal.directional(0, 1)), x, y)
    assert torch.equal(lo[1], x[1]) and torch.equal(hi[1], x[1]) and bool((hi > lo)[0, 0])
    with pytest.raises(BadPlan, match="L-infinity"):
        region_of(Threat("t", Ball(0.1, 2)), x, y)
