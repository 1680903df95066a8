"""Detectors are attacked jointly: what an attacker that knows one finds is at least what one that does not finds, and a rejection is no success."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from detected import digits
from torch import Tensor, nn

from vauban.attacks import ATTACKS, conf_max, find, oblivious, pgd
from vauban.attacks.evasion.gradient.orthogonal_pgd import _direction
from vauban.attacks.parts.losses import selective
from vauban.attacks.parts.two_goals import both, selective_towards, weighed_towards
from vauban.defences import DEFENCES
from vauban.defences import find as defence
from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.rejecting import Joint, Rejecting, calibrated
from vauban.defences.registry import Clean
from vauban.doors import Aim, Oracle
from vauban.target import Committee, Target, Torch
from vauban.target.around import worn_by
from vauban.threat import Ball, Goal, Threat

EPS = 0.12
DETECTORS = sorted(
    name for name, d in DEFENCES.items() if "defences.detection" in d.__module__ and name not in ("disagreement", "noise-stability")
)
NEW = ("selective-pgd", "lagrangian-pgd", "orthogonal-pgd", "conf-max")


@cache
def guarded(name: str) -> Target:
    target, clean, _ = digits()
    quick = {"epochs": 3} if name == "reconstruction" else {}
    share = {"alpha": 0.1} if name == "conformal" else {"rejected": 0.1}
    return defence(name).bind(**quick, **share).around(target, clean)


def standing(target: Target, *attacks: object, eps: float = EPS, goal: Goal | None = None) -> Oracle:
    _, _, (x, y) = digits()
    o = Oracle(target, x, y, Threat("insider", Ball(eps), goal=goal or Goal()))
    for attack in attacks:
        attack(o)  # type: ignore[operator]
    return o


def owed(target: Target) -> list[object]:
    return [find(a.attack).bind(**a.settings) for w in worn_by(target) for a in w.owed]


@pytest.mark.parametrize("name", DETECTORS)
def test_what_a_detector_owes_breaks_all_that_the_oblivious_attack_breaks_and_more(name: str) -> None:
    naive = standing(guarded(name), oblivious())
    joint = standing(guarded(name), *owed(guarded(name)))
    assert not (naive.outcome.broken & ~joint.outcome.broken).any()
    assert joint.outcome.broken.sum() > naive.outcome.broken.sum() or name in ("max-softmax", "conformal")
    won = joint.outcome.by >= 0
    z = guarded(name).scores(joint.outcome.best[won])
    assert (z.argmax(1) != guarded(name).reject).all()
    assert (z.argmax(1) != digits()[2][1][won]).all()


@pytest.mark.parametrize("name", ["max-softmax", "lid", "kde"])
def test_towards_every_class_finds_what_the_loss_alone_does_not(name: str) -> None:
    alone = standing(guarded(name), pgd(steps=100, step=0.05, loss="selective", restarts=3))
    towards = standing(guarded(name), find("selective-pgd").bind())
    assert towards.outcome.standing.sum() <= alone.outcome.standing.sum()
    if name == "lid":
        assert towards.outcome.standing.sum() < 0.9 * alone.outcome.standing.sum()


class Saturated(Detector):
    """Minus the logarithm of the highest probability: all but flat on clean inputs, and steep at the border between two classes."""

    def strangeness(self, seen: Seen) -> Tensor:
        return -seen.z.log_softmax(1).amax(1)


def test_where_rejection_outweighs_the_classes_the_margin_climbs_back_and_selective_goes_on() -> None:
    """An input is strange on its way to another class, and the margin is the lesser of both leads."""
    target, (x, y), _ = digits()
    heavy = calibrated(target, Saturated(), Clean(x, y), 0.05)
    margin, chosen = (standing(heavy, pgd(loss=loss), eps=0.2).outcome.standing.sum() for loss in ("margin", "selective"))
    assert margin > chosen + 10


def test_the_log_odds_weigh_as_much_as_the_classes_so_that_the_margin_serves_too() -> None:
    margin, chosen = (standing(guarded("max-softmax"), pgd(loss=loss), eps=0.2).outcome.standing.sum() for loss in ("margin", "selective"))
    assert abs(int(margin - chosen)) <= 2
    for loss in ("margin", "selective"):
        assert not standing(guarded("max-softmax"), pgd(steps=100, step=0.05, loss=loss), eps=1.0).outcome.standing.any()


@pytest.mark.parametrize("name", DETECTORS)
def test_an_answer_does_not_feel_its_batch(name: str) -> None:
    _, _, (x, _) = digits()
    target = guarded(name)
    z = target.scores(x)
    for i in (0, 17, 39):
        assert torch.allclose(target.scores(x[i : i + 1])[0], z[i], rtol=1e-3, atol=1e-4)
    assert torch.allclose(target.scores(x.flip(0)).flip(0), z, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", DETECTORS)
def test_gradients_are_taken_of_the_very_scores_that_are_judged(name: str) -> None:
    _, _, (x, _) = digits()
    target = guarded(name)
    assert target.surrogate is None
    v = x[:9].clone().requires_grad_()
    z = target.smooth(v)
    assert torch.allclose(z.detach(), target.scores(x[:9]), rtol=1e-4, atol=1e-5)
    (slope,) = torch.autograd.grad(z[:, -1].sum(), v)
    assert (slope.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_the_fingerprint_covers_the_settings_and_what_was_fitted(name: str) -> None:
    target, clean, _ = digits()
    bind = {"epochs": 2} if name == "reconstruction" else {}
    share = "alpha" if name == "conformal" else "rejected"
    make = lambda rows, value: defence(name).bind(**bind, **{share: value}).around(target, rows).sha256()  # noqa: E731
    first = make(clean, 0.1)
    assert first == make(clean, 0.1)
    assert first != make(clean, 0.2)
    assert first != target.sha256()
    assert first != make((clean[0][150:], clean[1][150:]), 0.1)


@pytest.mark.parametrize("name", ["mahalanobis", "knn", "lid", "kde", "reconstruction"])
def test_the_fingerprint_changes_with_every_fitted_tensor(name: str) -> None:
    target = guarded(name)
    assert isinstance(target, Rejecting)
    before = target.sha256()
    for tensor in target.detector.tensors():
        kept = tensor.clone()
        tensor.view(-1)[0] += 1
        assert target.sha256() != before
        tensor.copy_(kept)
    assert target.sha256() == before


def test_rejected_is_no_success_unless_the_threat_says_so() -> None:
    target = guarded("max-softmax")
    none = standing(target, pgd(steps=10), eps=0.03)
    wins = standing(target, pgd(steps=10), eps=0.03, goal=Goal(reject_wins=True))
    assert wins.outcome.broken.sum() > none.outcome.broken.sum()
    by_rejection = (wins.outcome.said == target.reject) & (wins.outcome.by >= 0)
    assert by_rejection.any()
    z = target.scores(wins.outcome.best[by_rejection])
    assert (z.argmax(1) == target.reject).all()
    assert (none.outcome.said[none.outcome.by >= 0] != target.reject).all()


@pytest.mark.parametrize("name", NEW)
def test_the_joint_attacks_serve_a_threat_in_which_a_rejection_wins(name: str) -> None:
    attack = find(name).bind(steps=10)
    wins = standing(guarded("max-softmax"), attack, eps=0.05, goal=Goal(reject_wins=True)).outcome.broken
    none = standing(guarded("max-softmax"), attack, eps=0.05).outcome.broken
    assert wins.sum() >= none.sum()


@pytest.mark.parametrize("name", NEW)
def test_a_wanted_class_is_reached_and_accepted(name: str) -> None:
    o = standing(guarded("knn"), find(name).bind(), eps=0.4, goal=Goal(wanted=3))
    won = o.outcome.by >= 0
    assert won.float().mean() > 0.5
    assert (guarded("knn").labels(o.outcome.best[won]) == 3).all()


def test_a_detector_behind_a_step_is_attacked_through_the_stand_in_of_the_step() -> None:
    target, clean, (x, _) = digits()
    behind = defence("bit-depth").bind(bits=2).around(target)
    both_worn = defence("mahalanobis").bind(rejected=0.1).around(behind, clean)
    assert isinstance(both_worn.surrogate, Joint)
    v = x[:5].clone().requires_grad_()
    z = both_worn.surrogate.smooth(v)
    assert torch.allclose(z.detach(), both_worn.scores(x[:5]), rtol=1e-3, atol=1e-3)
    assert (torch.autograd.grad(z[:, -1].sum(), v)[0] != 0).any()
    naive, joint = standing(both_worn, oblivious()), standing(both_worn, *owed(both_worn))
    assert joint.outcome.broken.sum() >= naive.outcome.broken.sum()


def test_members_that_disagree_are_led_to_agree_on_something_wrong() -> None:
    target, clean, _ = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))
        optimiser = torch.optim.Adam(other.parameters(), 1e-2)
        for _ in range(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(other(clean[0]), target.labels(clean[0])).backward()
            optimiser.step()
    committee = Committee([target, Torch(other, outputs="logits")])
    both_worn = defence("disagreement").bind(rejected=0.1).around(committee, clean)
    naive, joint = standing(both_worn, oblivious()), standing(both_worn, *owed(both_worn))
    assert joint.outcome.broken.sum() >= naive.outcome.broken.sum()
    assert joint.outcome.broken.float().mean() > 0.4


def test_a_randomised_detector_is_asked_again_before_a_success_counts() -> None:
    target, clean, (x, y) = digits()
    noisy = defence("noise-stability").bind(rejected=0.1, draws=2).around(target, clean)
    assert noisy.randomised
    o = Oracle(noisy, x[:12], y[:12], Threat("insider", Ball(0.3)))
    find("selective-pgd").bind(steps=10, targets=3)(o)
    won = o.outcome.by >= 0
    assert won.any()
    assert (o.outcome.share[won] > 0.5).all()


# ---- the two goals --------------------------------------------------------------------------------------------------------------------


class Corridor(Detector):
    """Strange unless the second feature is high."""

    def strangeness(self, seen: Seen) -> Tensor:
        return 0.5 - seen.x[:, 1]


@pytest.mark.parametrize("name", ["selective-pgd", "lagrangian-pgd", "orthogonal-pgd"])
def test_both_goals_are_met_where_each_alone_leads_astray(name: str) -> None:
    """Class 1 is answered where x0 - x1 > 0: toward it, the second feature falls below what is accepted; only high x0 with high x1 wins."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-10.0, 30.0], [10.0, -30.0]]))
        model[1].bias.copy_(torch.tensor([-1.0, 1.0]))
    target = Torch(model, outputs="logits")
    inside = Rejecting(target, Corridor(), 0.3, 2)  # accepted where x1 >= 0.2; class 1 where x0 > 3 x1 - 0.1
    start = torch.tensor([[0.4, 0.4], [0.5, 0.6], [0.3, 0.5]])
    o = Oracle(inside, start, torch.zeros(3, dtype=torch.long), Threat("t", Ball(0.45)))
    # a step that keeps the detector's score lowers no x1: where a run begins decides whether it wins
    find(name).bind(**({"restarts": 40, "steps": 20} if name == "orthogonal-pgd" else {}))(o)
    assert o.outcome.broken.all()
    assert (o.outcome.best[:, 1] >= 0.2 - 1e-4).all()


def _aim(classes: int, y: Tensor, reject: int | None) -> Aim:
    return Aim.of_goal(Goal(), y, classes, reject, torch.arange(len(y)))


def test_the_leads_by_hand() -> None:
    z = torch.tensor([[1.0, 4.0, 2.0, 3.0]])  # the last is "rejected"
    aim = _aim(4, torch.tensor([0]), 3)
    two = torch.tensor([2])
    assert both(two)(aim, z).tolist() == [[-2.0, 1.0]]
    assert selective_towards(two)(aim, z).tolist() == [-3.0]
    assert weighed_towards(two, 10.0)(aim, z).tolist() == [-2.0], "what is met drops out"
    one = torch.tensor([1])
    assert selective_towards(one)(aim, z).tolist() == [0.5]
    assert selective(aim, z).tolist() == [0.5]
    rejected = torch.tensor([[1.0, 4.0, 2.0, 6.0]])
    assert weighed_towards(one, 10.0)(aim, rejected).tolist() == [-20.0]
    assert selective(aim, rejected)[0] == pytest.approx(-2 / 3)


def test_selective_is_positive_exactly_where_the_goal_is_met() -> None:
    z = torch.randn(5000, 5, generator=torch.Generator().manual_seed(0))
    aim = _aim(5, torch.arange(5000) % 4, 4)
    assert torch.equal(selective(aim, z) > 0, aim.margin(z) > 0)
    plain_aim = _aim(5, torch.arange(5000) % 4, None)
    assert torch.equal(selective(plain_aim, z), plain_aim.margin(z))


def test_a_step_for_one_goal_is_orthogonal_to_the_gradient_of_the_other() -> None:
    g = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 2, 3, 4, generator=g)
    leads = torch.tensor([[-1.0, 1], [-1, -1], [1, -1], [2, -3], [-2, 5], [-1, 0]])
    d = _direction(leads, gradients)
    for i in range(6):
        met, unmet = (1, 0) if leads[i, 0] <= 0 else (0, 1)
        assert float((d[i] * gradients[i, met]).sum()) == pytest.approx(0, abs=1e-4)
        assert float((d[i] * gradients[i, unmet]).sum()) > 0
    parallel = torch.ones(1, 2, 3)
    assert torch.equal(_direction(torch.tensor([[-1.0, -1.0]]), parallel), parallel[:, 0]), "nothing would be left: it goes on regardless"


def test_confidence_only_rises_from_one_kept_point_to_the_next() -> None:
    target, _, (x, y) = digits()
    o = Oracle(target, x, y, Threat("t", Ball(0.05)), settle="worst")
    conf_max(steps=60, restarts=1)(o)

    def sure(v: Tensor) -> Tensor:
        z = target.scores(v).scatter(1, y[:, None], -torch.inf)
        k = z.argmax(1, keepdim=True)
        full = target.scores(v)
        return full.gather(1, k)[:, 0] - full.scatter(1, k, -torch.inf).logsumexp(1)

    assert (sure(o.outcome.best) > sure(x)).all()
    one = Oracle(target, x, y, Threat("t", Ball(0.05)), settle="worst")
    pgd(steps=1, step=1.0, start="clean")(one)
    assert sure(o.outcome.best).mean() > sure(one.outcome.best).mean()


def test_the_attacks_are_registered_and_owed() -> None:
    assert set(NEW) <= set(ATTACKS)
    for name in DETECTORS:
        assert {"selective-pgd", "lagrangian-pgd"} <= {o.attack for o in DEFENCES[name].facts.owes}
    assert "conf-max" in {o.attack for o in DEFENCES["max-softmax"].facts.owes}
