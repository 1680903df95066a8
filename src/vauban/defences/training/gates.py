"""What is measured after every epoch, and the signs that training has gone wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vauban.attacks import Attack, find
from vauban.defences.training.inner import concerned
from vauban.defences.training.method import Method
from vauban.defences.training.result import Epoch
from vauban.defences.training.rows import Part
from vauban.doors import Oracle
from vauban.errors import BadPlan, VaubanError
from vauban.target import Target
from vauban.threat import Threat

FALL = 0.20
"""PGD accuracy below FGSM accuracy, or below that of an earlier epoch, by more than this is a sign of catastrophic overfitting."""
PATIENCE = 3
"""Constant answers in so many epochs running end the training,"""
GAP = 0.15
"""PGD accuracy on the rows trained on above that on held-out rows by more than this, and by more than chance, is robust overfitting."""
ENOUGH = 100
"""once it has had this many steps: a model that has only begun may answer anything."""


class TrainingStopped(VaubanError, RuntimeError):
    """Training that came to nothing: a constant predictor, or a loss that is not finite."""


class Probe:
    """Measures a model on held-out rows, at the threat's full radius and always with the same noise.

    Args:
        threats: what a row must withstand, each of them; the first is the one that is stated.
        inner: the attack trained with, which stands in for PGD where PGD cannot act.
        method: what the best epoch may be chosen by; None where that is never asked.
    """

    def __init__(
        self, target: Target, rows: Part, threats: Sequence[Threat], inner: Attack, seed: int, method: Method | None = None
    ) -> None:
        self.target, self.threats, self.seed, self.method = target, threats, seed, method
        self.threat = threat = threats[0]
        self.rows = Part(rows.x.to(target.device), rows.y.to(target.device), rows.ids.to(target.device))
        self.x, self.y = self.rows.x, self.rows.y
        loss = "cross-entropy" if target.reject is None else "selective"  # cross-entropy would go for the column that rejects
        self.one = find("fgsm").bind(loss=loss)
        self.many = find("pgd").bind(steps=20, step=0.125, loss=loss) if threat.perturbation.kind in find("pgd").facts.on else inner
        self.concerned = concerned(threat.goal, self.y)
        self.commonest = int(torch.bincount(self.y).max()) / len(self.y)

    def answers(self) -> Tensor:
        """Predicted classes, int64 (n,)."""
        return torch.cat([self.target.labels(part) for part in self.x.split(512)])

    def withstood(self, attack: Attack) -> float:
        """The share of the rows the threat is about that are classified correctly and stay so under an attack, under every threat."""
        right = self.answers() == self.y
        if not bool((right & self.concerned).any()):
            return 0.0
        standing = self.concerned
        for threat in self.threats:
            o = Oracle(self.target, self.x, self.y, threat, seed=self.seed)
            attack(o)
            standing = standing & o.outcome.standing
        return int(standing.sum()) / int(self.concerned.sum())

    def measure(self, number: int, **told: float | None) -> Epoch:
        """The model as it is now."""
        answers = self.answers()
        shares = torch.bincount(answers).double() / len(answers)
        entropy = float(-(shares * shares.clamp_min(1e-12).log()).sum())
        clean = float((answers == self.y).double().mean())
        own = None if self.method is None else self.method.measured(self.target, self.rows, self.threat)
        by, chosen = own or ("", None)
        one, many = self.withstood(self.one), self.withstood(self.many)
        return Epoch(number, clean, one, many, abs(entropy), **told, chosen_by=by, chosen=chosen)  # pyright: ignore[reportArgumentType]

    def constant(self, epoch: Epoch) -> bool:
        """Whether the model answers (almost) always the same, and so is no better than that."""
        return epoch.entropy < 0.3 and epoch.clean <= self.commonest + 0.02


def best_of(history: Sequence[Epoch], probe: Probe) -> int:
    """The epoch with the highest PGD accuracy, or of what the method chooses by, the cleaner of equals; a constant predictor never is.

    Of epochs that are equal in all of it, the first: training that gains nothing does not displace the model as it came.
    """
    return max(history, key=lambda e: (not probe.constant(e), *e.rank)).number


def overfitted(history: Sequence[Epoch]) -> str:
    """Why the last epoch shows catastrophic overfitting (Wong et al. 2020, arXiv:2001.03994, section 5); empty where it does not.

    Two signs: one step finds much less than many in two epochs running while PGD accuracy makes no progress, or PGD accuracy falls. A gap
    alone says nothing: a sound training shows one while it is learning, and any shows one before it has reached the full radius. Nor does
    either where the method does not choose by PGD accuracy.
    """
    if history[-1].chosen is not None:
        return ""
    last, earlier = history[-1], history[1:-1]
    top = max(earlier, key=lambda e: e.pgd, default=last)
    if len(earlier) and last.pgd <= top.pgd and all(e.eps >= 1 and e.fgsm - e.pgd > FALL for e in history[-2:]):
        return (
            f"catastrophic overfitting in epoch {last.number}: {last.fgsm:.1%} withstand one step (FGSM) and only {last.pgd:.1%} "
            "twenty (PGD); train with more steps of the inner attack"
        )
    if top.pgd - last.pgd > FALL:
        return (
            f"PGD accuracy fell from {top.pgd:.1%} in epoch {top.number} to {last.pgd:.1%} in epoch {last.number}; "
            "lower the learning rate, or train with more steps of the inner attack"
        )
    return ""


def remembered(history: Sequence[Epoch], kept: int, best: int, rows: int) -> str:
    """Robust overfitting (Rice et al. 2020, arXiv:2002.11569): what is withstood on rows trained on, and not on others; empty where there is none.

    Args:
        kept: the epoch whose weights are kept.
        best: the best one, which is kept unless the last is wanted.
        rows: how many were measured, of either kind.
    """
    last = history[-1]
    if last.trained_on is None:
        return ""
    mean = (last.trained_on + last.pgd) / 2
    chance = 2 * math.sqrt(2 * mean * (1 - mean) / rows)
    if last.trained_on - last.pgd <= max(GAP, chance):
        return ""
    which = (
        f"epoch {kept} is kept" if kept == best else f'the last epoch is kept, as was asked for, and keep = "best" would keep epoch {best}'
    )
    return (
        f"robust overfitting: in epoch {last.number}, {last.trained_on:.1%} of rows trained on withstand PGD and {last.pgd:.1%} of held-out "
        f"rows; {which}; use more rows, augmentation (shift, mirror), awp or ema, or fewer epochs"
    )


def check_not_constant(history: Sequence[Epoch], probe: Probe, *, steps: int, final: bool) -> None:
    """Raise `TrainingStopped` where the model answers the same class to everything, `PATIENCE` epochs running or at the end.

    `steps` is how many have been taken.
    """
    trained = history[1:]
    running = trained[-PATIENCE:]
    early = len(running) < PATIENCE or steps < ENOUGH
    if not trained or not all(probe.constant(e) for e in running) or (early and not final):
        return
    raise TrainingStopped(
        f"epoch {trained[-1].number}: the model gives nearly every input the same class ({trained[-1].clean:.1%} clean accuracy); "
        "use a longer ramp (ramp = 0.5), a lower learning rate, a smaller eps, or more epochs"
    )


def check_finite(loss: float, epoch: int, step: int) -> None:
    """Raise `TrainingStopped` where the loss or its gradient is not finite."""
    if not math.isfinite(loss):
        raise TrainingStopped(
            f"epoch {epoch}, step {step + 1}: the training loss or its gradient is not finite; lower the learning rate, or set clip = 1"
        )


def check_attack(attack: Attack, threat: Threat, shape: tuple[int, ...]) -> None:
    """Whether an attack can be the inner loop: it raises a loss within the radius by scores or gradients, or changes inputs at random.

    Raises:
        BadPlan: it looks for the smallest change, or learns from verdicts, which the inner loop does not give.
    """
    attack.check(threat, shape=shape)
    if attack.facts.minimal:
        raise BadPlan(
            f"attack {attack.name!r} looks for the smallest change; adversarial training needs the worst one at a fixed radius, such as pgd"
        )
    if attack.facts.access == 1:
        raise BadPlan(f"attack {attack.name!r} learns from labels, and training gives none; use one with gradients, such as pgd")
    if threat.perturbation.eps == math.inf:
        raise BadPlan(f"threat {threat.name!r}: eps = inf leaves nothing to learn; give a radius")
