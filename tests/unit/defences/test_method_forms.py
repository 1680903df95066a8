"""The ways of training beside their published forms, written out by hand on models where every number is known."""

from __future__ import annotations

import copy

import pytest
import torch
from small_training import EPS, plainly_trained, recipe, stripes
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.attacks import pgd, r_fgsm
from vauban.defences.training import find
from vauban.defences.training.inner import mixed, worst
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.methods.ensemble_adversarial import STATIC
from vauban.defences.training.methods.grad_align import misalignment
from vauban.defences.training.methods.hat import HELPER
from vauban.defences.training.methods.mart import runner_up
from vauban.defences.training.methods.multi_norm import drawn, every_norm
from vauban.defences.training.methods.trades import nudged
from vauban.defences.training.rows import Part
from vauban.defences.training.trainee import Trainee
from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.threat import Ball, Threat

LINF = Threat("t", Ball(EPS))


def linear() -> nn.Module:
    """Three classes over 16 features, rows of the weights of different lengths."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))  # type: ignore[operator]
        model[1].bias.copy_(torch.tensor([0.1, -0.2, 0.3]))  # type: ignore[operator]
    return model


def lesson(model: nn.Module, threat: Threat = LINF, n: int = 24, walls: bool = False, epoch: int = 1) -> Lesson:
    x, y = stripes(n)
    x = x.round() if walls else x
    trainee = Trainee.of(model)
    trainee.outputs = "logits"
    part = Part(x, y, torch.arange(n))
    return Lesson(trainee, part, threat, pgd(steps=2, step=0.7), recipe(), epoch, 1.0, 0.5, part, {})


def asked(model: nn.Module, *, training: bool) -> list[Tensor]:
    """The inputs that the model is asked about from now on, in one of its modes."""
    seen: list[Tensor] = []
    model.register_forward_pre_hook(
        lambda m, given: seen.append(given[0].detach().clone()) if m.training is training and len(given[0]) > 1 else None
    )
    return seen


def uphill(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the summed cross-entropy in the inputs."""
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(leaf), y, reduction="sum"), leaf)[0]


def test_fgsm_rs_takes_its_gradient_outside_the_box_and_then_ball_and_box() -> None:
    model = linear()
    made, starts, used = lesson(model, walls=True), asked(model, training=False), asked(model, training=True)
    find("fgsm-rs").bind(step=1.25)(made)
    change = starts[-1] - made.x
    assert change.abs().max() <= EPS
    assert change.abs().max() > 0.9 * EPS
    assert (starts[-1] < 0).any(), "the start is not put into the box"
    stepped = (change + 1.25 * EPS * uphill(model, starts[-1], made.y).sign()).clamp(-EPS, EPS)
    assert torch.allclose(used[0], (made.x + stepped).clamp(0, 1), atol=1e-6)


def test_n_fgsm_keeps_what_leaves_the_ball_and_nothing_that_leaves_the_box() -> None:
    model = linear()
    made, starts, used = lesson(model), asked(model, training=False), asked(model, training=True)
    find("n-fgsm").bind()(made)
    change = starts[-1] - made.x
    assert 1.9 * EPS < change.abs().max() <= 2 * EPS
    assert torch.allclose(used[0], (starts[-1] + EPS * uphill(model, starts[-1], made.y).sign()).clamp(0, 1), atol=1e-6)
    assert ((used[0] - made.x).abs() > 1.5 * EPS).any()


def test_free_turns_one_gradient_to_both_uses_and_carries_the_change_on() -> None:
    model, method = linear(), find("free").bind(replays=2)
    made = lesson(model)
    change = torch.zeros_like(made.x)
    for _ in range(3):
        expected = uphill(model, made.x + change, made.y).sign()
        loss = method(made)
        assert torch.allclose(loss, F.cross_entropy(model(made.x + change), made.y), atol=1e-6)
        model.zero_grad()
        loss.backward()
        change = ((made.x + (change + EPS * expected).clamp(-EPS, EPS)).clamp(0, 1)) - made.x
        assert torch.allclose(made.memory["change"], change, atol=1e-6)
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(0.5 * p.grad)  # type: ignore[arg-type]


def test_trades_is_the_published_loss_at_what_the_published_inner_loop_finds() -> None:
    twin = plainly_trained()
    made, model = lesson(twin), copy.deepcopy(twin)
    ours = find("trades").bind(beta=6.0, steps=4, step=0.3)(made)
    start = nudged(made)
    assert 0.8e-3 < float((start - made.x).std()) < 1.2e-3
    model.eval()
    kl, p = nn.KLDivLoss(reduction="sum"), model(made.x).softmax(1).detach()
    x = start
    for _ in range(4):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(kl(F.log_softmax(model(leaf), 1), p), leaf)
        x = (made.x + (leaf.detach() + 0.3 * EPS * slope.sign() - made.x).clamp(-EPS, EPS)).clamp(0, 1)
    model.train()
    clean, attacked = model(made.x), model(x)
    theirs = F.cross_entropy(clean, made.y) + 6.0 / len(x) * kl(F.log_softmax(attacked, 1), clean.softmax(1))
    assert torch.allclose(ours, theirs, rtol=1e-4)
    mine, published = (torch.autograd.grad(loss, list(m.parameters())) for loss, m in ((ours, twin), (theirs, model)))
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(mine, published, strict=True)), "through both branches"


def test_mart_is_the_published_loss() -> None:
    model = linear()
    made, used = lesson(model), asked(model, training=True)
    ours = find("mart").bind(weight=5.0)(made)
    x, rows = used[1], torch.arange(24)
    clean, attacked = model(made.x).softmax(1), model(x).softmax(1)
    other = attacked.clone()
    other[rows, made.y] = -1
    boosted = F.cross_entropy(model(x), made.y) - torch.log(1.0001 - other.max(1).values).mean()
    kl = (clean * (clean.log() - attacked.log())).sum(1)
    theirs = boosted + 5.0 * (kl * (1 - clean[rows, made.y])).mean()
    assert torch.allclose(ours, theirs, rtol=1e-4)
    assert float(runner_up(torch.tensor([[0.0, 50.0, 0.0]]), torch.tensor([0]))) == pytest.approx(9.21, abs=0.01), (
        "finite where all is lost"
    )


def test_hat_labels_what_lies_beyond_with_the_helpers_answer() -> None:
    model, method = plainly_trained(), find("hat").bind(beta=2.5, gamma=0.5, reach=2.0, steps=2, step=0.6, helper_epochs=3)
    made = lesson(model)
    torch.manual_seed(0)
    method.prepare(made)
    before = copy.deepcopy(model)
    helper = copy.deepcopy(model)
    helper.load_state_dict(made.remembered(HELPER))
    assert not torch.equal(helper.layers[5].weight, model.layers[5].weight)  # type: ignore[union-attr, index]
    used = asked(model, training=True)
    ours = method(made)
    clean, near, far = used
    assert torch.allclose(far, clean + 2 * (near - clean), atol=1e-6)
    said = helper.eval()(near).argmax(1)
    before.train()
    z, z_near, z_far = before(clean), before(near), before(far)
    kl = F.kl_div(F.log_softmax(z_near, 1), z.softmax(1), reduction="batchmean")
    assert torch.allclose(ours, F.cross_entropy(z, made.y) + 2.5 * kl + 0.5 * F.cross_entropy(z_far, said), rtol=1e-4)


class Bent(nn.Module):
    """Two classes, the second's score a quadratic form of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.form = nn.Parameter(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        score = (x @ self.form * x).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


def test_misalignment_is_nothing_on_a_linear_model_and_an_angle_on_a_quadratic_one() -> None:
    two = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    made = lesson(two)
    made.batch.y.clamp_(max=1)
    near = made.x + 0.05 * torch.randn(made.x.shape, generator=torch.Generator().manual_seed(2))
    assert float(misalignment(made, near)) == pytest.approx(0, abs=1e-6)
    model = Bent()
    made = lesson(model)
    made.batch.y.clamp_(max=1)
    slopes = [x.flatten(1) @ (model.form + model.form.T) for x in (made.x, near)]  # times (p - y), of the same sign for one class
    signs = [torch.sign(model(x).softmax(1)[:, 1] - made.y) for x in (made.x, near)]
    cosine = F.cosine_similarity(slopes[0] * signs[0][:, None], slopes[1] * signs[1][:, None])
    assert torch.allclose(misalignment(made, near), (1 - cosine).mean(), atol=1e-5)


def test_grad_align_adds_a_penalty_that_can_be_differentiated() -> None:
    model = Bent()
    made = lesson(model)
    made.batch.y.clamp_(max=1)
    bare, penalised = (find("grad-align").bind(weight=w)(made) for w in (0.0, 2.0))
    made.again()
    assert torch.isfinite(torch.autograd.grad(penalised - bare, model.form)[0]).all()
    assert float((penalised - bare).detach()) > 0


def test_the_norm_that_is_withstood_least_is_drawn_most() -> None:
    errors = torch.tensor([0.6, 0.2, 0.0])
    counts = torch.bincount(torch.tensor([drawn(errors, (i + 0.5) / 400) for i in range(400)]), minlength=3)
    assert counts.tolist() == [300, 100, 0]
    assert [drawn(torch.zeros(2), lot) for lot in (0.2, 0.7, 1 - 2**-24)] == [0, 1, 1]


def test_multi_norm_trains_within_the_drawn_norm_and_remembers_its_error() -> None:
    model, method = plainly_trained(), find("multi-norm").bind(l1=0.4, l2=0.2)
    radii, drew = {"linf": EPS, "l1": 0.4, "l2": 0.2}, set()
    for epoch in range(1, 13):
        made, twin = lesson(model, epoch=epoch), copy.deepcopy(model)
        used = asked(model, training=True)
        method(made)
        change = (used[0] - made.x).flatten(1)
        within = [float(change.norm(p=float(norm.removeprefix("l")), dim=1).max()) <= 1.0001 * eps for norm, eps in radii.items()]
        chosen = drawn(torch.ones(3), made.lot("norm"))
        assert within[chosen]
        drew.add(chosen)
        wrong = float((twin.train()(used[0]).argmax(1) != made.y).float().mean())
        expected = torch.ones(3)
        expected[chosen] = 0.9 + 0.1 * wrong
        assert torch.allclose(made.memory["errors"], expected, atol=1e-3)
    assert drew == {0, 1, 2}


def test_multi_norm_needs_another_norm_and_measures_all_of_them() -> None:
    assert [t.perturbation.kind for t in every_norm(LINF, l1=3.0, l2=0.5)] == ["linf", "l1", "l2"]
    assert [t.perturbation.eps for t in find("multi-norm").bind(l1=3.0).threats(LINF)] == [EPS, 3.0]
    with pytest.raises(BadPlan, match="at least one other norm"):
        every_norm(LINF)
    with pytest.raises(BadPlan, match=r"linf = 0.3, and threat 't' has eps = 0.13"):
        every_norm(LINF, linf=0.3, l1=1.0)


def test_ensemble_adversarial_draws_every_source_and_attacks_that_one() -> None:
    model, method = plainly_trained(), find("ensemble-adversarial").bind(members=2, member_epochs=1)
    made = lesson(model)
    torch.manual_seed(0)
    method.prepare(made)
    memory = dict(made.memory)
    drew: set[int] = set()
    for epoch in range(1, 13):
        made = lesson(model, epoch=epoch)
        made.memory.update(memory)
        own, used = copy.deepcopy(model), asked(model, training=True)
        method(made)
        sources = [own, *(copy.deepcopy(model) for _ in range(2))]
        for i in range(2):
            sources[i + 1].load_state_dict(made.remembered(f"{STATIC} {i}"))
        found = [
            worst(Trainee.of(s), made.x, made.y, LINF, r_fgsm.bind(), ids=made.batch.ids, seed=mixed(0, "attack", epoch)) for s in sources
        ]
        fits = [i for i, x in enumerate(found) if torch.allclose(x, used[1], atol=1e-6)]
        assert len(fits) == 1
        drew.add(fits[0])
    assert drew == {0, 1, 2}


def test_one_lot_for_a_batch_is_uniform_and_its_own_for_every_purpose() -> None:
    lots = [lesson(linear(), epoch=epoch).lot("source") for epoch in range(1, 200)]
    assert 0.4 < sum(lots) / len(lots) < 0.6
    assert min(lots) < 0.05 < 0.95 < max(lots)
    made = lesson(linear())
    assert made.lot("a") != made.lot("b")
    assert made.lot("a") == float(RowNoise(torch.tensor([0]), made.seed, "a").uniform(1))
