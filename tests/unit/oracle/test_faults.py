"""Every fault that the first sketch had, each with a test that fails on the sketch's behaviour."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from spine import NEAR, Counting, Table, Touched, attacking, line, lit, siege
from worlds import Halfspace, rows

from vauban.attacks import ATTACKS, ddn, fgsm, pgd
from vauban.doors import Aim
from vauban.noise import RowNoise
from vauban.target import Own, Torch
from vauban.threat import INF, Access, Ball, Goal

# ---- questions ------------------------------------------------------------------------------------------------------------------------


def test_logits_and_jacobian_are_answered_for_every_probe() -> None:
    """Sketch: "no logits/jacobian (DeepFool, JSMA, FAB need them)"."""
    model, o = Halfspace(), siege()
    probes = torch.stack([o.x, o.x + 0.01])
    z = o.logits(probes)
    assert torch.allclose(z, model(probes.flatten(0, 1)).view(2, 5, 3))
    values, gradients = o.jacobian(probes)
    assert values.shape == (2, 5, 3)
    assert gradients.shape == (2, 5, 3, 1, 6, 6)
    w = model.w.detach().view(1, 6, 6)
    assert torch.allclose(gradients, torch.stack([-w, w, 0 * w]).expand(2, 5, 3, 1, 6, 6))


@pytest.mark.parametrize("access", [Access.NONE, Access.LABEL, Access.SCORE])
def test_a_surrogate_gradient_asks_the_target_nothing(access: Access) -> None:
    """Sketch: "`ascend` charges and forwards the target even when only a surrogate's gradient is wanted, refuses under label access"."""
    model, own = Counting(), Halfspace()
    o = siege(model, threat={"access": access, "queries": 1}, surrogate=Own(Torch(own, outputs="logits")))
    with attacking(o):
        for _ in range(5):
            value, gradient = o.ascend(o.x)
        assert torch.isfinite(value).all()
        assert (gradient.flatten(1) @ own.w.detach() > 0).all()
        assert model.forwards == 0
        assert (o.outcome.queries == 0).all()
        o.submit(lit(o, 0))
    assert model.forwards == 5
    assert o.outcome.broken.tolist() == [True, False, False, False, False]


QUESTIONS = ["fooled", "score", "logits", "ascend", "jacobian"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_probes_are_trimmed_row_by_row_and_settled_rows_stay_blank(question: str) -> None:
    """Sketch: "`ascend` crashes with leading dimensions"; "an oversized question is dropped, not trimmed"."""
    model = Counting()
    o = siege(model, n=4, threat={"queries": 5})
    o.fooled(lit(o, 1), torch.tensor([True, True, False, True]))  # row 1 is settled, rows 0 and 3 have 4 questions left, row 2 has 5
    probes = o.x + torch.arange(6).view(2, 3, 1, 1, 1, 1) * 1e-3
    found = getattr(o, question)(probes)
    left = torch.tensor([4, 0, 5, 4])
    asked = torch.arange(6).view(2, 3, 1) < left
    exact = model.inner(probes.flatten(0, 2)).view(2, 3, 4, 3).detach()
    w = model.inner.w.detach().view(1, 6, 6)
    if question == "fooled":
        assert found.shape == (2, 3, 4)
        assert not found.any()
    elif question == "score":
        assert torch.allclose(found, torch.where(asked, exact[..., 1] - exact[..., 0], -INF))
    elif question == "logits":
        assert torch.allclose(found, torch.where(asked[..., None], exact, 0.0))
    elif question == "ascend":
        assert torch.equal(torch.isfinite(found[0]), asked)
        assert torch.equal((found[1].flatten(3) @ w.flatten()) > 0, asked)
        assert (found[1][~asked] == 0).all()
    else:
        assert torch.allclose(found[0], torch.where(asked[..., None], exact, 0.0))
        assert torch.equal((found[1].flatten(4) @ w.flatten()) != 0, asked[..., None] & torch.tensor([True, True, False]))
    assert o.outcome.queries.tolist() == [5, 1, 5, 5]
    assert model.forwards == 16


def test_an_oversized_question_is_trimmed_to_the_last_query() -> None:
    """Sketch: "an oversized question is dropped, not trimmed": here only the third of eight probes wins, and the budget is three."""
    o = siege(threat={"queries": 3})
    probes = torch.stack([o.x] * 2 + [o.project(o.x + 0.3)] + [o.x] * 5)
    assert o.fooled(probes).sum(0).tolist() == [1] * 5
    assert o.outcome.broken.all()
    assert o.outcome.first.tolist() == [3] * 5
    assert o.outcome.queries.tolist() == [3] * 5


def test_one_forward_serves_truth_and_gradient() -> None:
    """Sketch: "two forwards per gradient question"."""
    model = Counting()
    o = siege(model)
    o.ascend(o.x)
    assert (model.forwards, model.backwards, model.calls) == (5, 5, 1)
    o.jacobian(o.x)
    assert (model.forwards, model.backwards, model.calls) == (10, 5 + 3 * 5, 2)


# ---- losses ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (3,)])
def test_a_constant_of_each_row_finds_its_row_after_others_settle(lead: tuple[int, ...]) -> None:
    """Sketch: "losses see only live rows, so any per-row constant (C&W's c, ODI's w) crashes once a row settles"."""
    model, o = Halfspace(), siege(max_rows=2)
    s = o.rows(c=torch.arange(1.0, 6.0))

    def weighted(aim: Aim, z: torch.Tensor) -> torch.Tensor:
        return aim.of(s.c) * z[:, 1]

    o.fooled(lit(o, 0, 2), torch.tensor([True, True, True, False, True]))
    v = o.x.expand(*lead, *o.x.shape)
    value, gradient = o.ascend(v, weighted)
    own = model(o.x)[:, 1].detach()
    alive = torch.tensor([False, True, False, True, True])
    assert torch.allclose(value, torch.where(alive, own * torch.arange(1.0, 6.0), -INF).expand(*lead, 5))
    assert torch.allclose(
        gradient.flatten(-3)[..., 0], torch.where(alive, torch.arange(1.0, 6.0) * model.w[0].detach(), 0.0).expand(*lead, 5)
    )
    for _ in o.steps(1):
        assert s.c.tolist() == [2.0, 4.0, 5.0]
        assert torch.allclose(o.score(v[..., :3, :, :, :] * 0 + o.x, weighted), (own * torch.arange(1.0, 6.0))[alive])


# ---- correctness ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [[math.nan, 0, 9], [math.nan] * 3, [math.inf, math.inf, math.inf], [0, math.inf, 0], [-math.inf, 1, 0]])
def test_scores_that_are_not_finite_never_fool(poison: list[float]) -> None:
    """Sketch: "NaN logits count as fooled"."""

    class Poisoned(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clean = torch.tensor([1.0, 0.0, 0.0]).expand(len(x), 3)
            return torch.where(x[:, :1] > 0.5, torch.tensor(poison), clean)

    o = siege(Poisoned(), x=line(0.3, 0.4)[0], y=line(0.3, 0.4)[1])
    assert not o.fooled(o.x + 0.3).any()
    assert not o.fooled(torch.stack([o.x, o.x + 0.3])).any()
    assert not o.outcome.broken.any()
    assert o.book.nonfinite.all()


def test_a_row_already_of_the_wanted_class_is_no_success_and_not_counted() -> None:
    """Sketch: "a row already of the wanted class counts as a success"."""
    x, _ = rows(4)
    x[1] += 0.3
    y = torch.tensor([0, 1, 0, 0])
    o = siege(x=x, y=y, threat={"goal": Goal(wanted=1)})
    assert o.outcome.eligible.tolist() == [True, False, True, True]
    pgd(o, steps=5)
    assert o.outcome.broken.tolist() == [True, False, True, True]
    assert o.outcome.queries[1] == 0


def test_with_no_budget_misclassified_rows_are_still_seen() -> None:
    """Sketch: "with budget 0 misclassified rows are hidden"."""
    o = siege(y=torch.tensor([0, 1, 0, 2, 0]), threat={"queries": 0})
    pgd(o, steps=3)
    r = o.outcome
    assert r.broken.tolist() == [False, True, False, True, False]
    assert r.distance.tolist() == [INF, 0, INF, 0, INF]
    assert r.first.tolist() == [-1, 0, -1, 0, -1]
    assert (r.queries == 0).all()


def test_a_tie_is_the_defenders() -> None:
    """Sketch: "ties count as met", for the clean answer and for the attacked one, untargeted and wanted."""
    tied, y = torch.tensor([[0.5, 0.5, 0.1], [0.2, 0.1, 0.5]]), torch.tensor([1, 2])
    o = siege(Table(), x=tied, y=y)
    assert o.outcome.correct.tolist() == [True, True], "class 1 ties with class 0, which argmax would name"
    assert not o.fooled(o.x).any()
    assert o.fooled(torch.tensor([[0.5, 0.5, 0.1], [0.2, 0.5, 0.5]])).tolist() == [False, False]
    o = siege(Table(), x=tied, y=y, threat={"goal": Goal(wanted=0)})
    assert o.fooled(torch.tensor([[0.5, 0.5, 0.1], [0.5, 0.1, 0.5]])).tolist() == [False, False]
    assert o.fooled(torch.tensor([[0.5001, 0.5, 0.1], [0.5, 0.1, 0.4999]])).tolist() == [True, True]


@pytest.mark.parametrize("eps", ["8/255", "1/255", 0.1])
def test_what_is_kept_is_within_eps_exactly(eps: str | float) -> None:
    """Sketch: "after a correct float32 projection all rows exceed 8/255 by up to 2.8e-8"."""
    x = torch.rand(64, 40, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.1
    o = siege(Touched(x), Ball(eps), x=x, y=torch.zeros(64, dtype=torch.long))
    raw = x + torch.tensor(o.eps)  # the projection as everybody writes it
    if eps != 0.1:
        assert (o.ball.distance(x, raw) > o.eps).any()
    assert o.fooled(raw).all()
    assert (o.outcome.distance <= o.eps).all()
    assert ((o.outcome.best.double() - x.double()).abs().amax(1) <= o.eps).all()


def test_first_is_the_winning_query_and_not_the_end_of_its_batch() -> None:
    """Sketch: "`first` charges a whole batch of probes". The first win counts, also where a later probe is nearer."""
    o = siege()
    o.fooled(o.x)
    o.fooled(torch.stack([o.x, o.project(o.x + 0.3), o.project(o.x + 0.2), o.project(o.x + 0.12), o.x]))
    r = o.outcome
    assert r.first.tolist() == [3] * 5
    assert r.queries.tolist() == [6] * 5
    assert torch.allclose(r.distance, torch.full((5,), 0.12, dtype=torch.float64), atol=1e-6), "the nearest is kept"


def test_first_counts_only_wins_inside_the_radius() -> None:
    """A minimum-norm search may win far outside before it wins inside."""
    o = siege(ball=Ball(0.15), settle="nearest")
    with attacking(o, minimal=True):
        o.fooled(torch.stack([o.x + 0.4, o.x + 0.3, o.x + 0.14, o.x + 0.13]))
    assert o.outcome.first.tolist() == [3] * 5


def test_the_second_attack_of_a_cascade_has_what_the_first_left() -> None:
    """Sketch: "in a cascade the second attack gets no budget"."""
    o = siege(threat={"queries": 7})
    with attacking(o, queries=3):
        for _ in o.steps(10):
            o.fooled(o.x)
    assert o.outcome.queries.tolist() == [3] * 5
    fgsm(o)
    assert o.outcome.broken.all()
    assert (o.outcome.queries > 3).all()
    assert (o.outcome.queries <= 7).all()
    assert o.outcome.by.tolist() == [1] * 5


# ---- minimum norm ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [3.0, INF])
def test_a_smallest_change_is_sought_to_the_end_whatever_the_radius(eps: float) -> None:
    """Sketch: "with finite eps a row freezes at its first win"."""
    model = Halfspace()
    for options in ({"settle": "nearest"}, {"curve": True}):
        o = siege(model, Ball(eps, "l2"), **options)
        ddn(o, steps=100)
        assert (o.outcome.distance <= model.smallest(rows()[0], 2.0) * 1.02).all()


@pytest.mark.parametrize("eps", [3.0, INF])
def test_a_first_success_settles_whatever_the_radius(eps: float) -> None:
    """Sketch: "with eps = inf it never settles"."""
    o = siege(ball=Ball(eps, "l2"), settle="first")
    with attacking(o, minimal=True):
        turns = 0
        for _ in o.steps(50):
            turns += 1
            o.fooled(o.x + 0.3)
    assert turns == 1
    assert not o.live


# ---- noise ----------------------------------------------------------------------------------------------------------------------------


def test_a_draw_of_more_than_16_million_values_does_not_run_into_the_next() -> None:
    """Sketch: "more than 2^24 values in a draw repeat the next draw's head"."""
    noise = RowNoise(torch.tensor([7]), 0)
    tail = noise.bits((1 << 24) + 8)[0, -8:]
    assert not torch.isin(noise.bits(8)[0], tail).any()


@pytest.mark.parametrize("seed", [2**31, 2**32 + 1, 2**63, 2**64, 2**100, -1])
def test_any_seed_works_and_differs(seed: int) -> None:
    """Sketch: "seeds >= 2^31 overflow"."""
    ids = torch.arange(3)
    assert not torch.equal(RowNoise(ids, seed).uniform(8), RowNoise(ids, seed % 2**31).uniform(8))
    assert not torch.equal(RowNoise(ids, seed).uniform(8), RowNoise(ids, seed + 1).uniform(8))
    assert torch.equal(RowNoise(ids, seed).uniform(8), RowNoise(ids, seed).uniform(8))


def test_each_row_counts_its_own_draws() -> None:
    """Sketch: "one global draw counter": a row that needed more draws than its neighbours must not move theirs."""
    both = RowNoise(torch.tensor([3, 4]), 0)
    both.uniform(2)
    both.uniform(2, where=torch.tensor([True, False]))
    third = both.uniform(2)
    alone = RowNoise(torch.tensor([4]), 0)
    alone.uniform(2)
    assert torch.equal(third[1:], alone.uniform(2))


def test_words_are_made_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sketch: "707 MiB for one draw of 10,000 CIFAR rows": 64-bit words never outlive a block, and blocks change no value."""
    import vauban.noise

    ids = torch.arange(50)
    whole = RowNoise(ids, 0).uniform(30), RowNoise(ids, 0).normal(3, 5), RowNoise(ids, 0).bits(70)
    sizes: list[int] = []
    bits = RowNoise.bits
    monkeypatch.setattr(vauban.noise, "BLOCK", 64)
    monkeypatch.setattr(
        RowNoise, "bits", lambda self, *shape, where=None: (sizes.append(len(self) * math.prod(shape)), bits(self, *shape, where=where))[1]
    )
    assert torch.equal(RowNoise(ids, 0).uniform(30), whole[0])
    assert torch.equal(RowNoise(ids, 0).normal(3, 5), whole[1])
    assert max(sizes) <= 4 * 64
    assert torch.equal(bits(RowNoise(ids, 0), 70), whole[2])


def test_batches_and_epochs_of_a_training_loop_start_differently() -> None:
    """Sketch: "a training loop with ids 0..n repeats the same start in every batch"."""

    def starts(ids: list[int], epoch: int) -> torch.Tensor:
        o = siege(ids=torch.tensor(ids), seed=epoch, settle="worst")
        with attacking(o):
            return o.noise.uniform(4)

    all_ = torch.stack([starts([0, 1, 2, 3, 4], 0), starts([5, 6, 7, 8, 9], 0), starts([0, 1, 2, 3, 4], 1)])
    assert len(all_.flatten().unique()) == all_.numel()


# ---- memory, geometry, house -----------------------------------------------------------------------------------------------------------


def test_no_pass_is_larger_than_the_chunk() -> None:
    """Sketch: "Memory: no chunking"."""
    largest = 0

    class Largest(Halfspace):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal largest
            largest = max(largest, len(x))
            return super().forward(x)

    o = siege(Largest(), NEAR, max_rows=3)
    o.fooled(o.x.expand(4, *o.x.shape))
    o.jacobian(o.x)
    pgd(o, steps=2)
    assert largest == 3


def test_one_step_in_l1_moves_the_feature_that_counts_most() -> None:
    """Sketch: "`steepest` normalises by L2 for L1 and L0" (brute force in tests/unit/geometry)."""
    model, o = Halfspace(), siege(ball=Ball(0.3, "l1"))
    d = o.steepest(o.ascend(o.x)[1], o.x, 0.3).flatten(1)
    expected = torch.zeros(5, 36)
    expected[:, int(model.w.argmax())] = 0.3
    assert torch.allclose(d, expected)


def test_threats_need_no_torch() -> None:
    """Sketch: "`cli` and `threat` import more than their floors allow"."""
    code = "import sys, vauban.threat, vauban.measure, vauban.campaign.record, vauban.campaign.verdict; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_registry_finds_attacks_in_nested_folders() -> None:
    """Sketch: "the registry walk is flat"."""
    assert {recipe.__module__.split(".")[3] for recipe in ATTACKS.values()} >= {"gradient", "minimum", "baseline", "transform"}
