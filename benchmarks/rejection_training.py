"""Models trained to reject what is attacked: what an attacker that does not know of it gets, and one that does.

    python -m benchmarks --data DIR --only rejection-training --out results/rejection-training.jsonl

The reference network for MNIST, trained for a few epochs on a third of its rows: the gap between two attackers, not the best of the methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparison import Check
from benchmarks.hardened import HELD, Spec, digits, trained
from benchmarks.options import Options
from benchmarks.world import reference
from vauban.attacks import Attack, find
from vauban.defences.detection.owed import CONFIDENT, SELECTIVE
from vauban.defences.registry import Clean
from vauban.defences.registry import find as find_defence
from vauban.defences.training import Recipe
from vauban.defences.training.inner import worst
from vauban.doors import Oracle
from vauban.noise import RowNoise
from vauban.target import Own, Surrogate, Target, Torch
from vauban.target.around import Around, Bare
from vauban.threat import Ball, Threat

NAME = "rejection-training"
SHORT = Recipe(epochs=3, batch=100, weight_decay=0.0)
NULL = Spec("null-class", 0.3, SHORT, rows=20_000, spare=1)
CCAT = Spec("ccat", 0.3, Recipe(epochs=3, batch=100, weight_decay=0.0, ramp=0.0), rows=20_000)
PGD = find("pgd").bind(steps=40, step=0.1)


@dataclass(frozen=True)
class Rejecting:
    """A model under one attacker, over n test rows: the shares that are answered wrongly and accepted, and that are rejected; and both over
    those that are accepted, clean or attacked (`error`; Stutz et al. 2020, arXiv:1910.06259)."""

    model: str
    attacker: str
    knows: bool
    eps: float
    n: int
    wrong: float
    rejected: float
    error: float

    def line(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"kind": "rejecting"} | asdict(self)


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """Both models; each radius and attacker in turn."""
    x, y = digits(o.data, "test", o.rows(300))
    found = [*null_class(o, x, y), *ccat(o, x, y)]
    return [f.line() for f in found], checks(found)


def null_class(o: Options, x: Tensor, y: Tensor) -> list[Rejecting]:
    """The model with a class for all that is no clean input, at the radius of its training and below."""
    target, _, _ = trained("null-class", NULL, o.data)
    plain = Own(Bare(Torch(reference(o.data).load("mnist-std"), outputs="logits"), target.reject))
    noise = RowNoise(torch.arange(len(x)), 0, "noise").uniform(*x.shape[1:])
    found = [judged("null-class", "clean", target, 0.0, x, y, x), judged("null-class", "noise alone", target, 1.0, noise, y, noise)]
    for eps in (0.1, 0.2, 0.3):
        ends = {"PGD on the classes": last(target, x, y, eps, Blind(target)), "PGD on all outputs": last(target, x, y, eps),
                "PGD from a plain model": last(target, x, y, eps, plain)}  # fmt: skip
        found += [judged("null-class", k, target, eps, x, y, t) for k, t in ends.items()]
        found.append(judged("null-class", "adaptive", target, eps, x, y, adaptive(target, x, y, eps, bound(SELECTIVE)), knows=True))
    return found


def ccat(o: Options, x: Tensor, y: Tensor) -> list[Rejecting]:
    """Confidence-calibrated training with a threshold that 99 % of held-out clean rows pass; a plainly trained model beside it."""
    held = Clean(*(t[-HELD:] for t in digits(o.data, "train")))
    models = {"ccat": trained("ccat", CCAT, o.data)[0], "plain": Torch(reference(o.data).load("mnist-std"), outputs="logits")}
    found: list[Rejecting] = []
    for name, bare in models.items():
        target = find_defence("max-softmax").bind(rejected=0.01).around(bare, held)
        found.append(judged(name, "clean", target, 0.0, x, y, x))
        for eps in (0.1, 0.3) if name == "ccat" else (0.3,):
            found.append(judged(name, "PGD on the classes", target, eps, x, y, last(bare, x, y, eps)))
            end = adaptive(target, x, y, eps, bound(CONFIDENT))
            found.append(judged(name, "adaptive", target, eps, x, y, end, knows=True))
    return found


def bound(owed: Sequence[Any]) -> list[Attack]:
    """What a defence owes."""
    return [find(owe.attack).bind(**owe.settings) for owe in owed]


def last(target: Target, x: Tensor, y: Tensor, eps: float, surrogate: Surrogate | None = None) -> Tensor:
    """Where PGD on cross-entropy ends, whatever the target says on the way."""
    attacked = target if surrogate is None else Faced(target, surrogate)
    return worst(attacked, x, y, Threat("gap", Ball(eps)), PGD, ids=torch.arange(len(x)), seed=0)


def adaptive(target: Target, x: Tensor, y: Tensor, eps: float, attacks: Sequence[Attack]) -> Tensor:
    """Inputs that attacks on answer and rejection together found; the clean ones where they found none."""
    o = Oracle(target, x, y, Threat("gap", Ball(eps)), seed=0)
    for attack in attacks:
        attack(o)
    return o.outcome.best


def judged(model: str, attacker: str, target: Target, eps: float, x: Tensor, y: Tensor, found: Tensor, *, knows: bool = False) -> Rejecting:
    """What the target says to attacked inputs."""
    clean, answers = (torch.cat([target.labels(part) for part in t.split(300)]) for t in (x, found))
    reject = target.reject
    wrong = (answers != y) & (answers != reject)
    ever_wrong = wrong | ((clean != y) & (clean != reject))
    ever = (answers != reject) | (clean != reject)
    shares = {"wrong": float(wrong.double().mean()), "rejected": float((answers == reject).double().mean())}
    return Rejecting(model, attacker, knows, eps, len(x), **shares, error=float(ever_wrong.sum() / ever.sum().clamp_min(1)))


class Faced(Around):
    """A target whose gradients an attacker takes elsewhere."""

    kind = "faced"

    def __init__(self, target: Target, surrogate: Surrogate) -> None:
        super().__init__(target)
        self.stand_in = surrogate

    @property
    def surrogate(self) -> Surrogate:
        return self.stand_in


class Blind(Surrogate):
    """The target's classes as an attacker sees them who knows of no rejection."""

    def __init__(self, target: Target) -> None:
        self.target, self.access = target, target.access

    def held(self):
        return self.target.held()

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        z = self.target.smooth(x, draw)
        return z.index_fill(1, torch.tensor([self.target.reject]), -1e4)


def checks(found: Sequence[Rejecting]) -> list[Check]:
    """The gap: rejected where the attacker does not know, accepted where it does."""
    by = {(f.model, f.attacker, f.eps): f for f in found}
    naive, told = by["null-class", "PGD on all outputs", 0.3], by["null-class", "adaptive", 0.3]
    blind, sure = by["ccat", "PGD on the classes", 0.3], by["ccat", "adaptive", 0.3]
    return [
        Check(NAME, "null class at 0.3: rejected of PGD on all outputs", naive.rejected, 0.95, at_least=True),
        Check(
            NAME, "null class at 0.3: wrong and accepted, adaptive less PGD on all outputs", told.wrong - naive.wrong, 0.5, at_least=True
        ),
        Check(NAME, "CCAT at 0.3: error among the accepted, adaptive less PGD", sure.error - blind.error, 0.1, at_least=True),
    ]
