"""The contract that every registered defence faces, on small worlds that a little network solves: grey and coloured images, and vectors."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import Attack, find
from vauban.defences import DEFENCES, Clean, Defence
from vauban.doors import Oracle
from vauban.errors import VaubanError
from vauban.measure import mcnemar
from vauban.noise import RowNoise
from vauban.target import Committee, Function, Sklearn, Target, Torch, default_surrogate
from vauban.target.around import bare, undefended, worn_by
from vauban.threat import Ball, Threat

torch.set_num_threads(1)
CODE = Path(__file__).parents[1] / "support" / "own_steps.py"

SETTINGS: dict[str, dict[str, object]] = {
    "own-step": {"load": f"{CODE}:coarse"},
    "imitated-step": {"load": f"{CODE}:coarse", "epochs": 8},
    "denoising-autoencoder": {"epochs": 4},
    "reconstruction": {"epochs": 4},
    "total-variation": {"drop": 0.15, "steps": 15, "draws": 4},
    "random-resize-and-pad": {"draws": 8, "least": 0.85},
    "randomised-smoothing": {"sigma": 0.05, "samples": 30, "draws": 8},
    "noise-stability": {"draws": 2},
    "pca": {"keep": 0.9},
    "feature-selection": {"keep": 0.7},
}
"""Settings cut to the size of these worlds, or that have no default. A defence that is not named here is faced with its defaults."""
OTHERWISE: dict[str, dict[str, object]] = {
    "own-step": {"load": f"{CODE}:finer"},
    "imitated-step": {"seed": 1},
    "feature-selection": {"by": "variance"},
    "pca": {"keep": 3},
}
"""A setting that makes it another defence, where one step up or down in its first number does not."""
OF_COMMITTEES = {"disagreement"} | {name for name, d in DEFENCES.items() if d.facts.family == "ensemble"}
"""Defences that are put around several models; they are given a committee of three."""
LOST = 0.1
"""Of the clean accuracy, at most; a detector may reject as much as it is set to besides."""
SHAPES = {"grey": (1, 8, 8), "colour": (3, 8, 8), "vectors": (12,)}
EPS = {"grey": 0.11, "colour": 0.09, "vectors": 0.13}
FITTED, ATTACKED = 400, 32


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """Three classes that differ in where they are bright, rows to fit a defence on and rows to judge it by, and a network that tells them apart."""

    kind: str
    target: Target
    nets: tuple[nn.Module, ...]
    clean: Clean
    x: Tensor
    y: Tensor

    @property
    def ids(self) -> Tensor:
        return torch.arange(1000, 1000 + len(self.x))

    def noise(self) -> RowNoise:
        return RowNoise(self.ids, 7)


def rows(kind: str, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Smooth bumps at a place that is the class, with noise, in [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    shape = SHAPES[kind]
    y = torch.randint(3, (n,), generator=g)
    if len(shape) == 1:
        bump = 0.25 * torch.eye(3).repeat_interleave(4, 1)[y]
    else:
        down, across = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        middles = torch.tensor([[2.0, 2.0], [2.0, 5.5], [5.5, 3.5]])
        waves = torch.exp(-((down - middles[:, 0, None, None]) ** 2 + (across - middles[:, 1, None, None]) ** 2) / 6)
        tint = torch.tensor([1.0, 0.8, 0.6])[: shape[0], None, None]
        bump = (0.4 * waves[:, None] * tint)[y]
    return (0.3 + bump + 0.08 * torch.randn(n, *shape, generator=g)).clamp(0, 1), y


def network(kind: str, seed: int, turns: int = 120) -> nn.Module:
    """A network with the first weights of a seed, trained for so many turns."""
    shape, (x, y) = SHAPES[kind], rows(kind, 600, 0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if len(shape) == 1:
            net = nn.Sequential(nn.Linear(shape[0], 32), nn.ReLU(), nn.Linear(32, 3))
        else:
            net = nn.Sequential(nn.Conv2d(shape[0], 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 3))
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for turn in range(turns):
        part = slice(100 * (turn % 6), 100 * (turn % 6) + 100)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[part]), y[part]).backward()
        optimiser.step()
    return net.eval()


def model_of(nets: tuple[nn.Module, ...]) -> Target:
    members = [Torch(net, outputs="logits", channels_last=False, name="net") for net in nets]
    return members[0] if len(members) == 1 else Committee(members)


@cache
def ground(kind: str, members: int) -> World:
    nets = tuple(network(kind, seed) for seed in range(members))
    w = World(kind, model_of(nets), nets, Clean(*rows(kind, FITTED, 1)), *rows(kind, ATTACKED, 2))
    assert accuracy(w.target, w) > 0.95
    return w


def world(kind: str, name: str = "") -> World:
    return ground(kind, 3 if name in OF_COMMITTEES else 1)


def bound(name: str, **settings: object) -> Defence:
    return DEFENCES[name].bind(**{**SETTINGS.get(name, {}), **settings})


@cache
def behind(name: str, kind: str) -> Target:
    w = world(kind, name)
    made = bound(name).around(w.target, w.clean)
    made.prepare(w.x)
    return made


def accuracy(target: Target, w: World) -> float:
    return float((target.labels(w.x, w.noise()) == w.y).double().mean())


def kinds(name: str) -> list[str]:
    return ["grey", "colour"] if DEFENCES[name].facts.images else ["grey", "colour", "vectors"]


CASES = [(name, kind) for name in sorted(DEFENCES) for kind in kinds(name)]
WIDEST = [(name, kinds(name)[-1]) for name in sorted(DEFENCES)]
every = pytest.mark.parametrize(("name", "kind"), CASES)
attacked = pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind in CASES if kind != "grey"])
once = pytest.mark.parametrize(("name", "kind"), WIDEST)


# ---- it answers like a model ----------------------------------------------------------------------------------------------------------------


@every
def test_clean_inputs_are_still_told_apart(name: str, kind: str) -> None:
    w, allowed = world(kind, name), LOST
    for setting in ("rejected", "alpha"):
        given = bound(name).settings.get(setting)
        allowed += 2 * float(given) if DEFENCES[name].facts.family in ("detection", "rejection") and given is not None else 0
    assert accuracy(behind(name, kind), w) >= accuracy(w.target, w) - allowed


@every
def test_a_row_does_not_feel_its_batch(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    together = target.scores(w.x, w.noise())
    for i in (0, 17, ATTACKED - 1):
        alone = target.scores(w.x[i : i + 1], RowNoise(w.ids[i : i + 1], 7))
        assert torch.allclose(alone[0], together[i], atol=2e-4, rtol=1e-4)
    backwards = torch.arange(ATTACKED).flip(0)
    turned = target.scores(w.x[backwards], w.noise().take(backwards))
    assert torch.allclose(turned[backwards], together, atol=2e-4, rtol=1e-4)


@once
def test_no_rows_and_one_row_are_answered(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    wide = target.scores(w.x[:1], w.noise().take(torch.arange(1))).shape[1]
    assert wide == (target.classes or 3)
    assert target.labels(w.x[:1], w.noise().take(torch.arange(1))).shape == (1,)
    assert target.scores(w.x[:0], w.noise().take(torch.arange(0))).shape[0] == 0


@once
def test_labels_are_those_of_the_scores_and_only_randomised_targets_draw(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    assert torch.equal(target.scores(w.x, w.noise()).argmax(1), target.labels(w.x, w.noise()))
    if not target.randomised:
        assert torch.equal(target.scores(w.x), target.scores(w.x, w.noise()))


@every
def test_asking_costs_the_passes_it_claims(name: str, kind: str) -> None:
    """Rows that the model inside is asked about: for an answer, and for a gradient."""
    w, target = world(kind, name), behind(name, kind)
    seen: list[int] = []
    hooks = [net.register_forward_hook(lambda _m, given, _z: seen.append(len(given[0]))) for net in w.nets]
    try:
        target.scores(w.x, w.noise())
        answer = sum(seen)
        seen.clear()
        surrogate = default_surrogate(target)
        if surrogate is not None:
            surrogate.smooth(w.x, w.noise())
            assert sum(seen) == surrogate.passes * len(w.x)
    finally:
        for hook in hooks:
            hook.remove()
    assert answer == target.passes * len(w.x)


# ---- what it is -----------------------------------------------------------------------------------------------------------------------------


@once
def test_it_says_what_it_wears_and_what_is_beneath(name: str, kind: str) -> None:
    w, target, facts = world(kind, name), behind(name, kind), DEFENCES[name].facts
    assert [worn.name for worn in worn_by(target)] == [name]
    assert undefended(target) is w.target
    assert facts.owes, "a defence names the attacks that its evaluation owes"
    assert worn_by(target)[0].owed == facts.owes
    twice = bound(name).around(w.target, w.clean)
    assert twice is not target


@once
def test_the_same_rows_and_settings_fit_the_same_defence(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    torch.manual_seed(99)
    again = bound(name).around(w.target, w.clean)
    again.prepare(w.x)
    assert target.sha256()
    assert again.sha256() == target.sha256()
    assert torch.allclose(again.scores(w.x, w.noise()), target.scores(w.x, w.noise()), atol=1e-5)


@once
def test_another_setting_or_another_model_is_another_defence(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    if bound(name).settings:
        assert bound(name, **another(name)).around(w.target, w.clean).sha256() != target.sha256()
    other = model_of(tuple(network(kind, seed + 10, 60) for seed in range(len(w.nets))))
    assert bound(name).around(other, w.clean).sha256() not in ("", target.sha256())


def another(name: str) -> dict[str, object]:
    if name in OTHERWISE:
        return OTHERWISE[name]
    for setting, value in bound(name).settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        return {setting: value + 1 if isinstance(value, int) else value * 0.5}
    pytest.fail(f"{name} has no number among its settings: say in OTHERWISE what makes it another defence")


# ---- how it is attacked ---------------------------------------------------------------------------------------------------------------------


@every
def test_its_stand_in_has_gradients(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    surrogate = default_surrogate(target)
    assert surrogate is not None
    leaf = w.x.clone().requires_grad_()
    z = surrogate.smooth(leaf, w.noise())
    assert z.shape == target.scores(w.x, w.noise()).shape
    own = z.gather(1, w.y[:, None])[:, 0]
    others = z.scatter(1, w.y[:, None], -math.inf)
    if target.reject is not None:
        others[:, target.reject] = -math.inf
    (others.amax(1) - own).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert float((leaf.grad.flatten(1).abs().amax(1) > 1e-8).double().mean()) > 0.9


@attacked
def test_who_knows_it_breaks_at_least_what_who_does_not_breaks(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    naive = fallen(target, w, [find("oblivious").bind(steps=20), find("oblivious").bind(steps=20, loss="margin")])
    aware = fallen(target, w, [find("pgd").bind(steps=20, loss="selective"), *owed(name)])
    beaten, ahead = int((naive & ~aware).sum()), int((aware & ~naive).sum())
    assert beaten <= ahead or mcnemar(beaten, ahead) > 0.05, (
        f"{beaten} rows fall only to the attacker that does not know {name}, {ahead} only to the other"
    )
    assert aware.any() or target.reject is not None, "a radius at which something falls"


@attacked
def test_what_counts_as_broken_is_what_the_deployed_defence_gets_wrong(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    o = Oracle(target, w.x, w.y, Threat("insider", Ball(EPS[kind])), ids=w.ids)
    find("pgd").bind(loss="selective", steps=15)(o)
    won = o.outcome.broken & o.outcome.attacked
    wrong = torch.stack([misled(target, o.outcome.best, w, turn) for turn in range(25 if target.randomised else 1)]).double().mean(0)[won]
    assert (wrong > (0.2 if target.randomised else 0.5)).all(), "a success is none of luck"
    assert not len(wrong) or float(wrong.mean()) > 0.5
    if not target.randomised:
        kept = ~o.outcome.broken
        assert torch.equal(target.labels(w.x)[kept], w.y[kept])
        assert torch.equal(o.outcome.answers, target.labels(w.x))


def misled(target: Target, x: Tensor, w: World, turn: int) -> Tensor:
    labels = target.labels(x, RowNoise(w.ids, 1234 + turn) if target.randomised else None)
    return (labels != w.y) & (labels != (-1 if target.reject is None else target.reject))


def owed(name: str) -> list[Attack]:
    """The attacks that it owes, with fewer steps."""
    found = []
    for o in DEFENCES[name].facts.owes:
        recipe = find(o.attack)
        settings = dict(o.settings)
        for cut, most in (("steps", 20), ("restarts", 1), ("targets", 2), ("queries", 200)):
            if cut in recipe.parameters and isinstance(recipe.bind(**settings).settings[cut], int):
                settings[cut] = min(recipe.bind(**settings).settings[cut], most)
        found.append(recipe.bind(**settings))
    return found


def fallen(target: Target, w: World, attacks: list[Attack]) -> Tensor:
    o = Oracle(target, w.x, w.y, Threat("insider", Ball(EPS[w.kind])), ids=w.ids)
    for attack in attacks:
        attack(o)
    return o.outcome.broken


@once
def test_the_model_beneath_has_a_gradient_for_who_does_not_know_it(name: str, kind: str) -> None:
    w, target = world(kind, name), behind(name, kind)
    model = bare(target)
    assert model is not None
    assert model.smooth(w.x, w.noise()).shape == target.scores(w.x, w.noise()).shape


# ---- what it cannot be put around -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, d in DEFENCES.items() if d.facts.images))
def test_a_defence_of_images_refuses_vectors(name: str) -> None:
    w = world("vectors", name)
    with pytest.raises(VaubanError, match="image"):
        bound(name).around(w.target, w.clean).prepare(w.x)


@pytest.mark.parametrize("name", sorted(name for name, d in DEFENCES.items() if d.facts.fits))
def test_too_few_clean_rows_are_refused(name: str) -> None:
    w = world("grey", name)
    with pytest.raises(VaubanError, match="row"):
        bound(name).around(w.target, (w.clean.x[:4], w.clean.y[:4]))
    with pytest.raises(VaubanError, match="clean rows"):
        bound(name).around(w.target)


@once
def test_a_target_that_shows_labels_only_is_wrapped_or_refused_in_a_sentence(name: str, kind: str) -> None:
    w = world(kind, name)
    black = Function(lambda x: w.target.labels(torch.from_numpy(x)).numpy(), access="label", classes=3, name="black")
    try:
        target = bound(name).around(black, w.clean)
    except VaubanError as error:
        assert any(word in str(error) for word in ("black", "scores", "committee"))
        return
    assert DEFENCES[name].facts.family not in ("detection", "rejection"), "a score from labels alone"
    assert accuracy(target, w) >= accuracy(behind(name, kind), w) - LOST
    assert default_surrogate(target) is None


@pytest.mark.parametrize("name", sorted(name for name, d in DEFENCES.items() if not d.facts.images))
def test_a_model_without_gradients_is_wrapped_and_lends_none(name: str) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    w = world("vectors")
    x, y = rows("vectors", 300, 5)
    black = Sklearn(linear.LogisticRegression().fit(x.numpy(), y.numpy()))
    try:
        target = bound(name).around(black, w.clean)
    except VaubanError as error:
        assert DEFENCES[name].facts.family not in ("input", "smoothing"), f"these need no gradient: {error}"
        return
    target.prepare(w.x)
    assert accuracy(target, w) > 0.6
    assert default_surrogate(target) is None
    assert target.scores(w.x, w.noise()).shape[0] == ATTACKED
