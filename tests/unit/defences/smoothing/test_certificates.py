"""Certificates of smoothed classifiers whose radius is known in closed form: never above it, close to it, and the same in any company."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from vauban.defences.smoothing import Smoothed, certify, certify_fixed, curve, harm_of, largest, question_of
from vauban.errors import BadData, BadPlan
from vauban.target import Function, Sklearn, Torch
from vauban.threat import INF, Ball

KINDS = [(2.0, "gaussian"), (1.0, "uniform"), (1.0, "laplace"), (INF, "gaussian")]


@pytest.mark.parametrize(("norm", "noise"), KINDS)
def test_no_certificate_exceeds_the_exact_radius_and_most_come_near_it(half, norm: float, noise: str) -> None:
    world = half(norm, rows=120)
    smoothed = Smoothed(world.target, 0.5 if norm != 1 else 1.0, norm=norm, noise=noise)
    radii = [0.02 * i if norm == INF else 0.1 * i for i in range(1, 6)]
    found = {o.row: o for o in certify(smoothed, world.x, world.y, Ball(radii[-1], norm, lo=-9, hi=9), radii=radii, most=20_000)}
    assert len(found) == 120
    close = 0
    for row, distance in enumerate(world.distance.tolist()):
        outcome = found[row]
        assert (outcome.radius or 0) <= distance
        assert outcome.lost is None or outcome.lost >= distance
        within = [r for r in radii if r <= 0.8 * distance]
        close += not within or (outcome.radius or 0) >= within[-1]
    assert close >= 118


@pytest.mark.parametrize(("norm", "noise"), KINDS)
def test_a_fixed_number_of_samples_proves_a_radius_below_the_exact_one_and_near_it(half, norm: float, noise: str) -> None:
    world = half(norm, rows=12)
    smoothed = Smoothed(world.target, 0.5 if norm != 1 else 1.0, norm=norm, noise=noise)
    for outcome, distance in zip(certify_fixed(smoothed, world.x, world.y, samples=20_000), world.distance.tolist(), strict=True):
        most = min(distance, largest(smoothed, 20_000) / (math.sqrt(12) if norm == INF else 1))
        assert (outcome.radius or 0) <= distance
        assert outcome.radius is None or outcome.radius >= 0.85 * most - 0.03
        assert outcome.samples == 20_100


def test_the_verdict_is_that_of_the_votes(half) -> None:
    world = half(rows=60)
    smoothed, labels = Smoothed(world.target, 0.25), world.y.clone()
    labels[:20] = 1 - labels[:20]
    verdicts = {o.row: o for o in certify(smoothed, world.x, labels, Ball(0.3, 2))}
    for row, distance in enumerate(world.distance.tolist()):
        expected = (
            {"wrong"}
            if row < 20 and distance > 0.2
            else {"certified"}
            if distance > 0.4
            else {"abstain", "undecided", "wrong", "certified"}
        )
        assert verdicts[row].verdict in expected, (row, distance)
        assert sum(verdicts[row].counts) == verdicts[row].samples
    near = [o for o in verdicts.values() if o.row >= 20 and 0.05 < float(world.distance[o.row]) < 0.2]
    assert near and all(o.verdict == "abstain" and o.lost == 0.3 for o in near)


def test_without_labels_a_separate_sample_chooses_the_class(half) -> None:
    world = half(rows=40)
    smoothed = Smoothed(world.target, 0.25)
    for outcome in certify(smoothed, world.x, ball=Ball(0.2, 2)):
        distance = float(world.distance[outcome.row])
        assert sum(outcome.counts) == outcome.samples - 64, "what chose the class does not count for it"
        if distance > 0.3:
            assert (outcome.verdict, outcome.claimed) == ("certified", int(world.y[outcome.row]))
        assert outcome.verdict != "wrong"


def test_a_row_does_not_feel_its_batch_its_place_or_the_size_of_a_pass(half) -> None:
    world = half(rows=40, features=4)
    exact = Torch(nn.Linear(4, 2).double(), outputs="logits")  # in double precision, no vote depends on the shape of a pass
    exact.model.load_state_dict({k: v.double() for k, v in world.model.inner.state_dict().items()})
    smoothed, ids, x = Smoothed(exact, 0.4), torch.arange(40) * 7 + 3, world.x.double()
    ball, radii = Ball(0.3, 2), (0.1, 0.2)
    together = {o.row: o for o in certify(smoothed, x, world.y, ball, radii=radii, ids=ids, most=3000)}
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = certify(smoothed, x[order], world.y[order], ball, radii=radii, ids=ids[order], most=3000, max_rows=70)
    assert {o.row: o for o in shuffled} == together
    for i in (0, 17, 39):
        alone = certify(smoothed, x[i : i + 1], world.y[i : i + 1], ball, radii=radii, ids=ids[i : i + 1], most=3000, max_rows=1000)
        assert list(alone) == [together[int(ids[i])]]
    other = {o.row: o for o in certify(smoothed, x, world.y, ball, radii=radii, ids=ids, most=3000, seed=1)}
    assert other != together, "another seed draws other noise"


def test_passes_are_full_and_never_larger_than_asked_however_many_rows_and_samples(half) -> None:
    world, sizes = half(rows=300), []
    rows = certify(Smoothed(world.target, 0.5), world.x, world.y, Ball(0.5, 2), most=30_000, max_rows=128)
    held: list[int] = []

    def seen(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        sizes.append(len(given[0]))
        held.append(given[0].untyped_storage().nbytes())

    world.model.inner.register_forward_pre_hook(seen)
    found = list(rows)
    assert len(found) == 300 and max(o.samples for o in found) > 1000
    assert sum(sizes) == sum(o.samples for o in found), "samples are what the model is asked"
    assert max(sizes) <= 128 and sum(sizes) / len(sizes) > 64, "small peeks of many rows share passes"
    assert max(held) <= 128 * 12 * 4, "nor is more drawn than a pass takes, however far away the next peek is"


def test_memory_does_not_grow_with_the_samples(half) -> None:
    world, held = half(rows=4), set()
    world.model.inner.register_forward_pre_hook(lambda _, given: held.add((given[0].data_ptr(), given[0].untyped_storage().nbytes())))
    list(certify_fixed(Smoothed(world.target, 0.5), world.x, samples=20_000))
    assert len(held) <= 2 and max(size for _, size in held) <= 256 * 12 * 4, "all passes share one buffer (and the clean look has the rows)"


def test_any_target_that_answers_can_be_smoothed(half, tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    from sklearn.linear_model import LogisticRegression

    world = half(rows=30, features=4)
    w, b = (t.detach().numpy() for t in (world.model.inner.weight, world.model.inner.bias))
    starts = [onnx.numpy_helper.from_array(np.ascontiguousarray(w.T), "W"), onnx.numpy_helper.from_array(b, "B")]
    ends = [onnx.helper.make_tensor_value_info(n, 1, ["n", k]) for n, k in (("x", 4), ("z", 2))]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Gemm", ["x", "W", "B"], ["z"])], "g", ends[:1], ends[1:], starts)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    from vauban.target import Onnx

    linear = LogisticRegression()
    linear.classes_, linear.coef_, linear.intercept_, linear.n_features_in_ = np.array([1, 0]), w[:1] * 2, b[:1] * 2, 4
    linear.classes_, linear.coef_, linear.intercept_ = np.array([0, 1]), -w[:1] * 2, -b[:1] * 2
    labels = Function(lambda x: (x @ w.T + b).argmax(1), access="label", classes=2)
    for base in (world.target, Onnx(tmp_path / "m.onnx"), Sklearn(linear), labels):
        found = list(certify(Smoothed(base, 0.3), world.x, world.y, Ball(0.2, 2), most=5000))
        assert all((o.radius or 0) <= float(world.distance[o.row]) for o in found), base.kind
        assert sum(o.verdict == "certified" for o in found) >= 0.9 * int((world.distance > 0.25).sum()), base.kind


def test_radii_of_other_norms_follow_from_the_noises_own(half) -> None:
    """L1 and L-infinity balls lie inside L2 ones of the same size and of sqrt(d) times it; k features of width w inside sqrt(k) w."""
    world = half(rows=1, features=9)
    noise = Smoothed(world.target, 1.0).noise
    near = {"rel": 1e-5}
    assert noise.needed(0.3, Ball(0.3, 2), (9,)) == pytest.approx(0.3, **near)
    assert noise.needed(0.3, Ball(0.3, 1), (9,)) == pytest.approx(0.3, **near)
    assert noise.needed(0.3, Ball(0.3), (9,)) == pytest.approx(0.9, **near)
    assert noise.needed(4, Ball(4, 0, lo=-1, hi=1), (9,)) == pytest.approx(4.0, **near)
    assert noise.needed(2, Ball(2, 0, pixels=True), (3, 2, 2)) == pytest.approx(math.sqrt(6), **near)
    assert noise.needed(0.3, Ball(0.3, mask=[True] * 4 + [False] * 5), (9,)) == pytest.approx(0.6, **near)
    flat = Smoothed(world.target, 1.0, norm=1).noise
    assert flat.needed(0.3, Ball(0.3), (9,)) == pytest.approx(2.7, **near)
    assert flat.needed(0.3, Ball(0.3, 2), (9,)) == pytest.approx(0.9, **near)
    assert flat.needed(2, Ball(2, 0), (9,)) == pytest.approx(2, **near)


@pytest.mark.parametrize("kind", ["gaussian", "uniform", "laplace"])
def test_noise_has_the_standard_deviation_it_is_told_and_its_own_shape(half, kind: str) -> None:
    from scipy import stats

    noise = Smoothed(half(rows=1).target, 0.7, norm=2 if kind == "gaussian" else 1, noise=kind).noise
    out = torch.empty(200_000)
    noise.fill(out, torch.Generator().manual_seed(0))
    drawn = (out * noise.scale).double()
    assert float(drawn.std()) == pytest.approx(0.7, rel=0.02) and abs(float(drawn.mean())) < 0.01
    law = {
        "gaussian": stats.norm(scale=0.7),
        "uniform": stats.uniform(-noise.scale, 2 * noise.scale),
        "laplace": stats.laplace(scale=noise.scale),
    }
    assert stats.kstest(drawn.numpy(), law[kind].cdf).pvalue > 1e-4
    for share in (0.55, 0.8, 0.99):
        assert noise.share(noise.radius(share)) == pytest.approx(share, abs=1e-9)


def test_one_look_settles_every_radius_that_the_votes_settle_from_either_end(half) -> None:
    question = question_of(Smoothed(half(rows=1).target, 0.5), None, (12,), radii=(0.1, 0.2, 0.3, 0.4), most=1000)
    peek = len(question.peeks) - 1
    ups, downs = ([getattr(b, which)[peek] for b in question.boundaries] for which in ("enough", "hopeless"))
    assert ups == sorted(ups) and downs == sorted(downs)
    assert question.look(peek, 1000, 0, 4) == (4, 4)
    assert question.look(peek, 0, 0, 4) == (0, 0)
    assert question.look(peek, ups[1], 0, 4)[0] == 2, "two are certified at once"
    assert question.look(peek, downs[2], 0, 4)[1] <= 2, "two are given up at once"
    assert question.open(3, 4, ups[3], 1000) and not question.open(3, 4, ups[3] - 1, 1000)


def test_settings_that_can_certify_nothing_are_refused_with_what_would_do(half) -> None:
    world = half(rows=5)
    smoothed = Smoothed(world.target, 0.25)
    with pytest.raises(BadPlan, match=r"100 samples cannot certify radius 0.5 .* allow at least 3\d\d"):
        certify(smoothed, world.x, world.y, Ball(0.5, 2), most=100)
    with pytest.raises(BadPlan, match="no number of samples certifies radius 5"):
        certify(smoothed, world.x, world.y, Ball(5, 2, lo=-9, hi=9))
    with pytest.raises(BadPlan, match=r"radius of at most 0\.61"):
        certify_fixed(smoothed, world.x, world.y, Ball(0.9, 2), samples=1000)
    with pytest.raises(BadPlan, match=r"alpha = 0\.7"):
        certify(smoothed, world.x, world.y, Ball(0.1, 2), alpha=0.7)
    with pytest.raises(BadPlan, match="inf cannot be certified"):
        certify(smoothed, world.x, world.y, Ball(norm=2))
    with pytest.raises(BadData, match="class numbers from 0 to 1"):
        certify(smoothed, world.x, world.y + 4, Ball(0.1, 2))
    with pytest.raises(BadData, match="at least one row"):
        certify(smoothed, world.x[:0], None, Ball(0.1, 2))


def test_noise_that_destroys_accuracy_is_told_before_the_work(half) -> None:
    torch.manual_seed(0)
    x = torch.cat([0.5 + 0.01 * torch.randn(50, 8), 0.5 + 0.01 * torch.randn(50, 8)])
    y = torch.arange(100) // 50
    x[:, 0] += 0.05 * (2 * y - 1)
    line = nn.Linear(8, 2)
    line.weight.data.copy_(torch.tensor([[-1.0] + [0.0] * 7, [1.0] + [0.0] * 7]))
    line.bias.data.copy_(torch.tensor([0.5, -0.5]))
    ripples = nn.Sequential(line)
    gentle = harm_of(Smoothed(Torch(ripples, outputs="logits"), 0.02), x, y)
    assert not gentle.destroyed and not gentle.heavy and gentle.clean == 1.0
    lost = harm_of(
        Smoothed(Function(lambda v: np.where(abs(v[:, 0] - 0.5) < 0.1, v[:, 0] > 0.5, 0).astype(int), access="label", classes=2), 2.0), x, y
    )
    assert lost.clean == 1.0 and lost.destroyed and "no better than guessing" in lost.text(2.0)


def test_the_curve_counts_what_is_certified_at_each_radius(half) -> None:
    world, radii = half(rows=80), (0.0, 0.2, 0.4)
    found = list(certify(Smoothed(world.target, 0.4), world.x, world.y, Ball(0.4, 2), radii=radii))
    points = curve(found, radii)
    assert [p.certified for p in points] == [sum(o.radius is not None and o.radius >= r for o in found) for r in radii]
    assert points[0].certified >= points[1].certified >= points[2].certified
    for p in points:
        assert p.certified <= int((world.distance >= p.radius).sum()) and p.certified + p.lost <= p.rows == 80


class Band(nn.Module):
    """Class 0 where the first feature lies in [-1, 1]: not linear, and yet its smoothed answer is a difference of two tails."""

    def forward(self, x):
        inside = (x[:, 0].abs() < 1).float()
        return torch.stack([inside, 1 - inside], 1)


def share_of_band(first: torch.Tensor, kind: str, scale: float) -> torch.Tensor:
    """The exact share of class 0, float64 (n,)."""
    from scipy import stats

    law = {"gaussian": stats.norm(scale=scale), "uniform": stats.uniform(-scale, 2 * scale), "laplace": stats.laplace(scale=scale)}[kind]
    v = first.double().numpy()
    return torch.from_numpy(law.cdf(1 - v) - law.cdf(-1 - v))


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "kind"), KINDS)
def test_ten_thousand_tries_never_contradict_a_certificate(norm: float, kind: str) -> None:
    """Random and worst-case changes within the certified radius, against the exact smoothed classifier."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=g)
    x[:, 0] = torch.linspace(-2.5, 2.5, 200)
    smoothed = Smoothed(Torch(Band(), outputs="logits"), 0.4, norm=norm, noise=kind)
    scale, radii = smoothed.noise.scale, [0.05 * i for i in range(1, 13)]
    y = (share_of_band(x[:, 0], kind, scale) < 0.5).long()
    ball = Ball(radii[-1] / (3 if norm == INF else 1), norm, lo=-9, hi=9)
    radii = [r / (3 if norm == INF else 1) for r in radii]
    tried = certified = 0
    for o in certify(smoothed, x, y, ball, radii=radii, most=10_000):
        if not o.radius:
            continue
        certified += 1
        way = torch.randn(100, 5, generator=g)
        way[:20] = torch.eye(5)[0] * torch.tensor([1.0, -1.0] * 10)[:, None]
        size = {2.0: way.norm(dim=1), 1.0: way.abs().sum(1), INF: way.abs().amax(1)}[norm]
        moved = x[o.row] + way / size[:, None] * o.radius * torch.linspace(0.5, 1, 100).flip(0)[:, None]
        answers = (share_of_band(moved[:, 0], kind, scale) < 0.5).long()
        assert bool((answers == o.claimed).all()), o
        tried += 100
    assert tried >= 10_000 and certified >= 100
