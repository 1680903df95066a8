"""Sides of a contest of verdicts: Vauban's suites by name, and cascades of the other libraries' components as AutoAttack runs them."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.peers import _adv_lib
from benchmarks.referee import struck
from benchmarks.world import World
from vauban.attacks.suites import suite
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Threat

ITERATIONS, QUERIES = 100, 5000
"""As in AutoAttack's standard version."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Adversarial inputs (n, *shape); where the side says so itself, which rows it broke, bool (n,), and what each row was asked (forwards,
    backwards), int64 (n,)."""

    adversarial: Tensor
    broken: Tensor | None = None
    asked: tuple[Tensor, Tensor] | None = None


Strike = Callable[[], Answer]
Contender = Callable[[World, int], Strike]
"""Puts a side around a world, with a seed, untimed; what it returns is timed."""
Part = Callable[[Tensor, Tensor], Tensor]


def contender(name: str) -> Contender:
    """The side of a name: "torchattacks", "adv-lib", or else a suite of Vauban's."""
    peers: dict[str, Contender] = {TORCHATTACKS: torchattacks_parts, ADV_LIB: adv_lib_parts}
    return peers.get(name) or (lambda w, seed: vauban_suite(name, w, seed))


TORCHATTACKS, ADV_LIB = "torchattacks", "adv-lib"
LONG = {TORCHATTACKS: "torchattacks parts, steps 100", ADV_LIB: "adv-lib parts, steps 100, no Square"}
"""What peers' sides are called in tables."""


def installed(side: str) -> bool:
    """Whether a side can run at all: a peer is installed; Vauban's own always can."""
    modules = {TORCHATTACKS: "torchattacks", ADV_LIB: "adv_lib"}
    return side not in modules or importlib.util.find_spec(modules[side]) is not None


def vauban_suite(name: str, w: World, seed: int) -> Strike:
    """All attacks of a suite in order over one oracle. Opening the oracle is timed, with all it checks."""
    target, threat = Torch(w.model), Threat("verdict", Ball(w.eps))
    attacks = suite(name, threat, tuple(w.x.shape[1:]))

    def strike() -> Answer:
        oracle = Oracle(target, w.x, w.y, threat, seed=seed)
        for attack in attacks:
            attack(oracle)
        outcome = oracle.outcome
        return Answer(outcome.best, outcome.broken.cpu(), (outcome.queries.cpu(), outcome.gradients.cpu()))

    return strike


def cascade(w: World, *parts: Part) -> Answer:
    """Each part on the rows that the ones before it left."""
    found, left = w.x.clone(), torch.arange(len(w))
    for part in parts:
        if len(left):
            rest = World(w.name, w.model, w.bare, w.x[left], w.y[left], w.eps)
            tried = part(rest.x, rest.y).detach()
            fooled = struck(rest, tried, math.inf, w.eps).fooled
            found[left[fooled]], left = tried[fooled], left[~fooled]
    return Answer(found)


def torchattacks_parts(w: World, seed: int) -> Strike:
    """The four components with the published number of iterations, which torchattacks' own AutoAttack leaves at 10."""
    import torchattacks as ta

    with torch.no_grad():
        classes = w.bare(w.x[:1]).shape[1]
    usual = {"eps": w.eps, "seed": seed}
    parts = (
        ta.APGD(w.model, steps=ITERATIONS, loss="ce", **usual),
        ta.APGDT(w.model, steps=ITERATIONS, n_classes=classes, **usual),
        ta.FAB(w.model, steps=ITERATIONS, multi_targeted=True, n_classes=classes, **usual),
        ta.Square(w.model, n_queries=QUERIES, resc_schedule=False, **usual),
    )
    return lambda: cascade(w, *parts)


def adv_lib_parts(w: World, seed: int) -> Strike:
    """APGD on cross-entropy, targeted APGD and targeted FAB; adv-lib has no Square."""
    al, model, eps = _adv_lib(), w.model, w.eps

    def strike() -> Answer:
        torch.manual_seed(seed)
        return cascade(
            w,
            lambda x, y: al.apgd(model, x, y, eps, math.inf, n_iter=ITERATIONS, loss_function="ce"),
            lambda x, y: al.apgd_targeted(model, x, y, eps, math.inf, n_iter=ITERATIONS),
            lambda x, y: al.fab(model, x, y, math.inf, n_iter=ITERATIONS, **{"ε": eps}, targeted_restarts=True),
        )

    return strike
