"""Which proof fits a target and a threat: smoothing, bounds of a network, or the leaves of trees; or why there is none."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.bounds.certificate import certify as certify_bounds
from vauban.bounds.limits import Level
from vauban.bounds.lipschitz import certify_lipschitz
from vauban.bounds.network import network_of
from vauban.bounds.trees import certify_trees
from vauban.campaign.certify.results import RowCertificate
from vauban.data import Rows
from vauban.defences.smoothing import Smoothed, certify, harm_of, question_of
from vauban.doors.oracle.aim import Aim
from vauban.errors import BadPlan, BadTarget, Missing, Unsupported
from vauban.target import Sklearn, Target, Torch, Trees
from vauban.target.restricted import Restricted
from vauban.threat import INF, Ball, Goal, Threat

TOGETHER = 32
"""Rows that are bounded at once: what an interrupted run repeats at most."""
PARTS = (0.0, 0.25, 0.5, 0.75)
"""Besides the threat's own radius, the shares of it at which smoothing is asked for the curve."""


@dataclass(frozen=True)
class Wanted:
    """How hard to try.

    Attributes:
        alpha: the chance that a smoothing certificate is false, for each row.
        samples: noisy copies of one row, at most.
        radii: more radii for the curve of smoothing; by default four parts of the threat's own.
        level: of the bounds of a network.
    """

    alpha: float = 0.001
    samples: int = 100_000
    radii: tuple[float, ...] = ()
    level: Level = "crown"


class Proof(ABC):
    """A way to prove rows robust.

    Attributes:
        method, facts, alpha, radii: as in `Certificates`.
    """

    method: str
    facts: str
    alpha: float = 0.0
    radii: tuple[float, ...] = ()

    @abstractmethod
    def prove(self, rows: Rows) -> Iterator[RowCertificate]:
        """A certificate for each row, in the order in which they are settled."""

    def warnings(self, rows: Rows) -> tuple[str, ...]:
        """What a look at a few rows tells, before any work is done; raises `BadPlan` where the work would be for nothing."""
        return ()


class BySmoothing(Proof):
    """Sequential certificates of a smoothed target."""

    method = "smoothing"

    def __init__(self, smoothed: Smoothed, ball: Ball, shape: tuple[int, ...], wanted: Wanted, seed: int) -> None:
        radii = wanted.radii or tuple(part * ball.eps for part in PARTS)
        question = question_of(smoothed, ball, shape, radii=radii, alpha=wanted.alpha, most=wanted.samples)
        self.smoothed, self.ball, self.wanted, self.seed = smoothed, ball, wanted, seed
        self.alpha, self.radii = wanted.alpha, question.radii
        noise = smoothed.noise
        self.facts = f"{noise.name} noise, sigma {noise.sigma:g}, alpha {wanted.alpha:g} a row, at most {wanted.samples:,} samples"

    def warnings(self, rows: Rows) -> tuple[str, ...]:
        harm = harm_of(self.smoothed, rows.x, rows.y, rows.ids, self.seed)
        if harm.destroyed:
            raise BadPlan(f"{self.smoothed.name}: {harm.text(self.smoothed.sigma)}")
        return (harm.text(self.smoothed.sigma),) if harm.heavy else ()

    def prove(self, rows: Rows) -> Iterator[RowCertificate]:
        labels = dict(zip(rows.ids.tolist(), rows.y.tolist(), strict=True))
        began, wanted = time.process_time(), self.wanted
        for found in certify(
            self.smoothed, rows.x, rows.y, self.ball, radii=self.radii, alpha=wanted.alpha, most=wanted.samples, ids=rows.ids, seed=self.seed
        ):  # fmt: skip
            now = time.process_time()
            votes, label = found.counts[found.claimed], labels[found.row]
            verdict = self._at_eps(found.radius, found.lost, wrong=found.answer != label)
            yield RowCertificate(
                found.row, label, verdict, found.radius, found.lost, None, found.samples, votes, self.method, now - began
            )  # fmt: skip
            began = now

    def _at_eps(self, radius: float | None, lost: float | None, *, wrong: bool) -> str:
        """The verdict about the threat's own radius, which need not be the largest that was asked."""
        if radius is not None and radius >= self.ball.eps:
            return "certified"
        if lost is not None and lost <= self.ball.eps:
            return "wrong" if wrong else "abstain"
        return "undecided"


class ByBounds(Proof):
    """Interval and linear bounds of a network, and for L2 and L1 its Lipschitz constant: whichever proves a row."""

    method = "bounds"

    def __init__(self, target: Torch, ball: Ball, goal: Goal, wanted: Wanted) -> None:
        self.target, self.ball, self.goal = target, ball, goal
        self.level: Level = wanted.level
        self.radii = (ball.eps,)
        self.facts = f"{wanted.level} bounds{', Lipschitz constant' if ball.norm in (1.0, 2.0) else ''}"

    def prove(self, rows: Rows) -> Iterator[RowCertificate]:
        for places in torch.arange(len(rows)).split(TOGETHER):
            yield from self._proved(rows.take(places))

    def _proved(self, rows: Rows) -> Iterator[RowCertificate]:
        began = time.process_time()
        target, device = self.target, self.target.device
        x, y = rows.x.to(device), rows.y.to(device)
        classes = network_of(target, x).classes
        wins = Aim.of_goal(self.goal, y, classes, target.reject, rows.ids.to(device)).wins
        margin = torch.full((len(rows),), -INF, dtype=torch.float64)
        by = ["lipschitz"] * len(rows)
        if self.ball.norm in (1.0, 2.0):
            margin = self._by_lipschitz(x, y, wins)
        todo = (margin <= 0).nonzero()[:, 0]
        if len(todo):
            at = todo.to(device)
            margin[todo] = certify_bounds(target, x[at], y[at], self.ball, level=self.level, wins=wins[at]).margin.cpu()
        for place in todo.tolist():
            by[place] = self.level
        right = target.labels(x).cpu() == rows.y
        each = (time.process_time() - began) / len(rows)
        for row, label, m, ok, name in zip(rows.ids.tolist(), rows.y.tolist(), margin.tolist(), right.tolist(), by, strict=True):
            verdict = "certified" if m > 0 else "open" if ok else "wrong"
            yield RowCertificate(row, label, verdict, self.ball.eps if m > 0 else None, None, _finite(m), by=name, seconds=each)

    def _by_lipschitz(self, x: Tensor, y: Tensor, wins: Tensor) -> Tensor:
        try:
            return certify_lipschitz(self.target, x, y, self.ball, wins=wins).margin.cpu()
        except Unsupported:  # an operator whose slope is not known; its bounds may be
            return torch.full((len(x),), -INF, dtype=torch.float64)


class ByTrees(Proof):
    """What a forest can answer: all leaves that are within reach."""

    method = "trees"

    def __init__(self, target: Trees, ball: Ball) -> None:
        self.target, self.ball, self.radii, self.facts = target, ball, (ball.eps,), "leaves within reach"

    def prove(self, rows: Rows) -> Iterator[RowCertificate]:
        for place in range(len(rows)):
            began, one = time.process_time(), rows.take(torch.tensor([place]))
            margin = float(certify_trees(self.target, one.x, one.y, self.ball)[0])
            right = int(self.target.labels(one.x)[0]) == int(one.y[0])
            verdict = "certified" if margin > 0 else "open" if right else "wrong"
            radius = self.ball.eps if margin > 0 else None
            seconds = time.process_time() - began
            yield RowCertificate(
                int(one.ids[0]), int(one.y[0]), verdict, radius, None, _finite(margin), by=self.method, seconds=seconds
            )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if abs(value) < INF else None


def proof_of(target: Target, threat: Threat, shape: tuple[int, ...], wanted: Wanted, seed: int = 0) -> Proof | str:
    """The proof for a target under a threat, or in words why there is none.

    What only lowers the access that an attacker has does not matter: a proof is the owner's.

    Raises:
        BadPlan: a smoothed target cannot be certified at the threat's radius, whatever the votes.
    """
    ball, inner = threat.perturbation, target.target if isinstance(target, Restricted) else target
    if not isinstance(ball, Ball):
        return f"certificates are for balls, and this threat allows {ball.text()}"
    if ball.eps == INF:
        return "certificates need a radius, and this threat has none; give eps"
    if inner.metered:
        return "certificates ask a model thousands of times, and each question to an endpoint costs its owner; certify the model itself"
    if isinstance(inner, Smoothed):
        return BySmoothing(inner, ball, shape, wanted, seed)
    forest = inner if isinstance(inner, Trees) else _forest(inner)
    if forest is not None:
        return ByTrees(forest, ball)
    if not isinstance(inner, Torch):
        return f'no proof is known for a {inner.kind} target; smooth it ([[defence]] with name = "randomised-smoothing" and a sigma)'
    if ball.kind not in ("linf", "l2", "l1"):
        return f"no bounds of networks are known for {ball.text()}; smooth the model, or ask for linf, l2 or l1"
    return ByBounds(inner, ball, threat.goal, wanted)


def _forest(target: Target) -> Trees | None:
    """The trees of an estimator that has some."""
    if not isinstance(target, Sklearn):
        return None
    try:
        return Trees(target.estimator)
    except (BadTarget, Missing):
        return None
