"""What detectors compute, against closed forms, brute force and counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from detected import digits, plain
from torch import Tensor, nn

from vauban.defences import find
from vauban.defences.detection.detector import Seen, following
from vauban.defences.detection.disagreement import Disagreement
from vauban.defences.detection.energy import Energy
from vauban.defences.detection.feature_squeezing import Squeezed, rounded
from vauban.defences.detection.features import Known, Layer, known_of, last_linear
from vauban.defences.detection.kde import Density, median_distance
from vauban.defences.detection.knn import Neighbours
from vauban.defences.detection.lid import Dimensions, dimension
from vauban.defences.detection.mahalanobis import Gaussians
from vauban.defences.detection.max_softmax import Unsure
from vauban.defences.detection.noise_stability import Unsteady
from vauban.defences.detection.reconstruction import Diverging
from vauban.defences.detection.rejecting import Plain, Rejecting
from vauban.defences.registry import Clean
from vauban.errors import BadData, BadTarget
from vauban.noise import RowNoise
from vauban.target import Committee, Function, Preprocessed, Torch
from vauban.target.around import Around

LAYER = Layer(nn.Linear(1, 1))


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seen(z: Tensor, f: Tensor | None = None) -> Seen:
    return Seen(z, z, Plain(plain(2, 2)), None, f)


def test_max_softmax_is_the_log_odds_against_the_likeliest_class() -> None:
    z = torch.randn(50, 7, generator=g(), dtype=torch.float64) * 4
    p = z.softmax(1).amax(1)
    assert torch.allclose(Unsure().strangeness(seen(z)), ((1 - p) / p).log())


def test_max_softmax_still_tells_sure_from_surer_where_probabilities_are_one() -> None:
    z = torch.tensor([[40.0, 0, 0], [60.0, 0, 0]], requires_grad=True)
    score = Unsure().strangeness(seen(z))
    assert score[0] > score[1]
    (slope,) = torch.autograd.grad(score.sum(), z)
    assert (slope[:, 0] == -1).all()


def test_energy_is_minus_the_logsumexp_of_the_scores_over_the_temperature() -> None:
    z = torch.randn(50, 7, generator=g(), dtype=torch.float64) * 4
    assert torch.allclose(Energy().strangeness(seen(z)), -z.exp().sum(1).log())
    assert torch.allclose(Energy(3.0).strangeness(seen(z)), -3 * (z / 3).exp().sum(1).log())


def test_mahalanobis_is_exact_for_gaussians_with_a_common_covariance() -> None:
    d, classes, n = 5, 3, 600
    means = torch.randn(classes, d, generator=g(1), dtype=torch.float64) * 3
    mix = torch.randn(d, d, generator=g(2), dtype=torch.float64)
    y = torch.arange(n) % classes
    f = means[y] + torch.randn(n, d, generator=g(3), dtype=torch.float64) @ mix
    fitted = Gaussians(Known(f.float(), y, LAYER, classes), 0.0)
    at = torch.randn(40, d, generator=g(4), dtype=torch.float64) * 4
    own = torch.stack([f[y == c].mean(0) for c in range(classes)])
    rest = (f - own[y]).numpy()
    inverse = np.linalg.inv(rest.T @ rest / n)
    exact = np.min([np.einsum("ni,ij,nj->n", (at - m).numpy(), inverse, (at - m).numpy()) for m in own], axis=0)
    assert np.allclose(fitted.strangeness(seen(torch.zeros(40, 3), at.float())).numpy(), exact, rtol=1e-3)


def test_mahalanobis_of_the_true_gaussian_is_chi_square_in_the_mean() -> None:
    d, n = 6, 20000
    f = torch.randn(n, d, generator=g(5)) * torch.tensor([1.0, 2, 3, 4, 5, 6])
    fitted = Gaussians(Known(f, torch.zeros(n, dtype=torch.long), LAYER, 1), 0.0)
    fresh = torch.randn(4000, d, generator=g(6)) * torch.tensor([1.0, 2, 3, 4, 5, 6])
    assert float(fitted.strangeness(seen(torch.zeros(4000, 1), fresh)).mean()) == pytest.approx(d, abs=0.25)


def test_shrinkage_makes_features_that_never_vary_harmless() -> None:
    f = torch.randn(100, 4, generator=g())
    f[:, 3] = 0
    fitted = Gaussians(Known(f, torch.arange(100) % 2, LAYER, 2), 1e-2)
    assert torch.isfinite(fitted.strangeness(seen(torch.zeros(100, 2), f))).all()


def test_knn_is_the_distance_to_the_kth_neighbour_of_length_one() -> None:
    f, at = torch.randn(80, 6, generator=g(1)), torch.randn(30, 6, generator=g(2))
    detector = Neighbours(Known(f, torch.zeros(80, dtype=torch.long), LAYER, 1), 4)
    a, b = at / at.norm(dim=1, keepdim=True), f / f.norm(dim=1, keepdim=True)
    brute = [sorted((row - other).norm().item() for other in b)[3] for row in a]
    assert detector.strangeness(seen(torch.zeros(30, 1), at)).tolist() == pytest.approx(brute, abs=1e-5)


def test_knn_has_the_value_of_the_kth_and_the_gradient_of_all_k() -> None:
    f, at = torch.randn(80, 6, generator=g(1)), torch.randn(5, 6, generator=g(2)).requires_grad_()
    detector = Neighbours(Known(f, torch.zeros(80, dtype=torch.long), LAYER, 1), 4)
    value = detector.strangeness(seen(torch.zeros(5, 1), at))
    assert torch.equal(value.detach(), detector.strangeness(seen(torch.zeros(5, 1), at.detach())))
    (slope,) = torch.autograd.grad(value.sum(), at)
    unit = at / at.norm(dim=1, keepdim=True)
    near = torch.cdist(unit, detector.known).topk(4, dim=1, largest=False).values.mean(1)
    assert torch.allclose(slope, torch.autograd.grad(near.sum(), at)[0], atol=1e-5)


@pytest.mark.parametrize("d", [2, 5, 9])
def test_lid_finds_the_dimension_of_uniform_noise(d: int) -> None:
    f = torch.rand(8000, d, generator=g(d)) * 2 - 1
    detector = Dimensions(Known(f, torch.zeros(8000, dtype=torch.long), LAYER, 1), 60)
    found = detector.strangeness(seen(torch.zeros(50, 1), torch.zeros(1, d) + 0.1 * torch.rand(50, d, generator=g(9))))
    assert float(found.mean()) == pytest.approx(d, rel=0.2)


def test_lid_is_the_maximum_likelihood_estimate_by_hand() -> None:
    distances = [0.5, 1.0, 2.0]
    assert float(dimension(torch.tensor([distances]))) == pytest.approx(1 / np.mean([math.log(2.0 / v) for v in distances[:-1]]))


def test_kde_is_the_log_density_of_the_answered_class_by_brute_force() -> None:
    f, y = torch.randn(60, 3, generator=g(1)), torch.arange(60) % 3
    known = Known(f, y, LAYER, 3)
    detector = Density(known, 0.7)
    pairs = [(f[i] - f[j]).norm().item() for i in range(60) for j in range(i) if y[i] == y[j]]
    middle = sorted(pairs)[(len(pairs) - 1) // 2]
    assert median_distance(known) == pytest.approx(middle, rel=1e-5)
    at, z = torch.randn(10, 3, generator=g(2)), torch.randn(10, 3, generator=g(3))
    h = 0.7 * middle
    brute = [
        -math.log(np.mean([math.exp(-((row - other).norm().item() ** 2) / (2 * h * h)) for other in f[y == c]]))
        for row, c in zip(at, z.argmax(1), strict=True)
    ]
    assert detector.strangeness(seen(z, at)).tolist() == pytest.approx(brute, rel=1e-4)


def test_kde_does_not_underflow_far_from_everything() -> None:
    known = Known(torch.randn(60, 3, generator=g(1)), torch.arange(60) % 3, LAYER, 3)
    far = (torch.full((1, 3), 1e4)).requires_grad_()
    score = Density(known, 0.1).strangeness(seen(torch.zeros(1, 3), far))
    assert torch.isfinite(score).all()
    assert (torch.autograd.grad(score.sum(), far)[0] != 0).any()


def test_squeezing_is_the_largest_change_over_the_squeezers() -> None:
    target, _, (x, _) = digits()
    detector = Squeezed(2, 2)
    look = detector.look(Plain(target), x, None)
    plain_p = look.z.softmax(1)
    bits = (target.scores((x * 3).round() / 3).softmax(1) - plain_p).abs().sum(1)
    wide = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 0), (1, 0)), mode="reflect")
    windows = np.stack([wide[..., i : i + 8, j : j + 8] for i in range(2) for j in range(2)])
    median = torch.from_numpy(np.sort(windows, axis=0)[2])
    smoothed = (target.scores(median).softmax(1) - plain_p).abs().sum(1)
    assert torch.allclose(detector.strangeness(look), torch.maximum(bits, smoothed), atol=1e-5)
    assert (smoothed > bits).any()
    assert (bits > smoothed).any()


def test_rounding_keeps_its_value_and_passes_gradients_straight() -> None:
    x = torch.rand(20, generator=g()).requires_grad_()
    assert set((rounded(x, 2) * 3).tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert (torch.autograd.grad(rounded(x, 2).sum(), x)[0] == 1).all()


def test_what_follows_another_gradient_keeps_its_value_exactly() -> None:
    x = torch.randn(1000, generator=g()).requires_grad_()
    hard = (x.detach() * 3).round() / 3
    assert torch.equal(following(hard, x * 1e6).detach(), hard)


def test_disagreement_is_none_between_equals_and_log_two_between_sure_opposites() -> None:
    def sure(i: int) -> Function:
        return Function(lambda x: 100.0 * np.eye(2, dtype=np.float32)[np.full(len(x), i)], classes=2)

    x = torch.zeros(3, 4)
    for members, expected in (((0, 0), 0.0), ((0, 1), math.log(2))):
        committee = Committee([sure(i) for i in members])
        detector = Disagreement(committee)
        look = detector.look(Plain(committee), x, None)
        assert detector.strangeness(look).tolist() == pytest.approx([expected] * 3, abs=1e-6)
        assert torch.allclose(look.z, committee.scores(x))


@pytest.mark.parametrize("rule", ["mean", "vote"])
def test_disagreement_asks_every_member_once_and_answers_as_the_committee(rule: str) -> None:
    members = [plain(6, 3, seed) for seed in range(3)]
    committee = Committee(members, rule)
    x = torch.rand(300, 6, generator=g())
    target = find("disagreement").bind().around(committee, (x, committee.labels(x)))
    counts = [0, 0, 0]
    for i, m in enumerate(members):
        m.model.register_forward_hook(lambda *_, i=i: counts.__setitem__(i, counts[i] + 1))
    z = target.scores(x)
    assert counts == [1, 1, 1]
    assert torch.allclose(z[:, :3], committee.scores(x))
    surrogate = target.surrogate or target
    v = x[:5].clone().requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.smooth(v)[:, 3].sum(), v)
    assert (slope != 0).any()


def test_noise_stability_is_a_matter_of_the_row_and_its_draw() -> None:
    target, _, (x, _) = digits()
    detector = Unsteady(0.1, 4)
    rows = RowNoise(torch.arange(len(x)), 3)

    def score(index: Tensor) -> Tensor:
        return detector.strangeness(detector.look(Plain(target), x[index], rows.take(index)))

    everyone = torch.arange(len(x))
    assert torch.allclose(score(everyone)[[7, 3]], score(torch.tensor([7, 3])), atol=1e-6)
    other = detector.strangeness(detector.look(Plain(target), x, RowNoise(everyone, 4)))
    assert not torch.allclose(score(everyone), other)
    assert (score(everyone) >= 0).all()
    assert (score(everyone) <= 2).all()


def test_reconstruction_finds_noise_stranger_than_digits() -> None:
    target, clean, (x, _) = digits()
    guarded = find("reconstruction").bind(epochs=5).around(target, clean)
    assert isinstance(guarded, Rejecting)
    noisy = (x + 0.5 * torch.randn(x.shape, generator=g())).clamp(0, 1)
    assert guarded.strangeness(noisy).median() > 2 * guarded.strangeness(x).median()


def test_divergence_is_that_of_jensen_and_shannon_at_the_temperature() -> None:
    target, clean, (x, _) = digits()
    guarded = find("reconstruction").bind(measure="divergence", temperature=4.0, epochs=2).around(target, clean)
    assert isinstance(guarded, Rejecting)
    assert isinstance(guarded.detector, Diverging)
    p = (target.scores(x) / 4).softmax(1).double()
    q = (target.scores(guarded.detector.autoencoder(x)) / 4).softmax(1).double()
    m = (p + q) / 2
    exact = ((p * (p / m).log()).sum(1) + (q * (q / m).log()).sum(1)) / 2
    assert torch.allclose(guarded.strangeness(x).double(), exact, atol=1e-6)


# ---- features -------------------------------------------------------------------------------------------------------------------------


def test_features_are_the_input_of_the_linear_layer_that_runs_last() -> None:
    class Twisted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(5, 3), nn.Linear(4, 5)  # in the other order than they are run

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).relu())

    model = Twisted()
    target = Torch(model, outputs="logits")
    assert last_linear(target, model, torch.rand(2, 4)).module is model.last
    x = torch.rand(60, 4, generator=g())
    with last_linear(target, model, x).watched() as caught:
        target.scores(x)
    assert torch.allclose(caught[0], model.first(x).relu(), atol=1e-6)


def test_features_of_a_model_behind_a_step_are_those_of_what_it_is_given() -> None:
    target = plain(4, 2)
    behind = Preprocessed(lambda x: (x * 3).round() / 3, target)
    x = torch.rand(80, 4, generator=g())
    known = known_of(behind, Clean(x, behind.labels(x)))
    assert torch.allclose(known.features, (x * 3).round() / 3)


def test_looking_at_features_takes_no_pass_of_its_own() -> None:
    target, clean, (x, _) = digits()
    guarded = find("knn").bind().around(target, clean)
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    handle = target.model.register_forward_hook(count)
    guarded.scores(x)
    handle.remove()
    assert passes == 1
    assert not any(m._forward_pre_hooks for m in target.model.modules()), "nothing is left behind in the model"


@pytest.mark.parametrize("name", ["mahalanobis", "knn", "lid", "kde"])
def test_detectors_of_features_say_what_they_need(name: str) -> None:
    x = torch.rand(400, 4, generator=g())
    no_module = Function(lambda v: np.stack([v[:, 0], v[:, 1]], 1) * 4 - 2, outputs="logits", classes=2)
    with pytest.raises(BadTarget, match="torch module"):
        find(name).bind().around(no_module, (x, no_module.labels(x)))
    no_linear = Torch(nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 2, 1), nn.Flatten()), outputs="logits")
    with pytest.raises(BadTarget, match="no linear layer"):
        find(name).bind().around(no_linear, (x, no_linear.labels(x)))
    with pytest.raises(BadData, match="class"):
        find(name).bind().around(plain(4, 9), (x, torch.zeros(400, dtype=torch.long)))


def test_disagreement_needs_a_committee_of_two() -> None:
    x = torch.rand(200, 4)
    for target in (plain(4, 2), Committee([plain(4, 2)])):
        with pytest.raises(BadTarget, match="disagree"):
            find("disagreement").bind().around(target, (x, torch.zeros(200, dtype=torch.long)))
    with pytest.raises(BadTarget, match="disagree"):
        find("disagreement").bind().around(Around(plain(4, 2)), (x, torch.zeros(200, dtype=torch.long)))
