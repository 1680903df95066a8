"""Several models that answer as one: by the mean of their probabilities, by vote, or only where all agree."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor

from vauban.errors import BadTarget, NotGranted, nearest
from vauban.noise import RowNoise
from vauban.target.around import Bare
from vauban.target.base import Surrogate, Target, held_all
from vauban.target.surrogates import default_surrogate
from vauban.threat import Access

Combine = Callable[[list[Tensor], list[float]], Tensor]


def log_mean_probability(scores: list[Tensor], weights: list[float]) -> Tensor:
    """Log of the weighted mean of the members' probabilities, from scores (n, classes) of each."""
    total = sum(weights)
    logs = [z.log_softmax(1) + math.log(w / total) for z, w in zip(scores, weights, strict=True)]
    return torch.stack(logs).logsumexp(0)


def mean_score(scores: list[Tensor], weights: list[float]) -> Tensor:
    """Weighted mean of the members' scores."""
    return torch.stack([z * w for z, w in zip(scores, weights, strict=True)]).sum(0) / sum(weights)


def votes(scores: list[Tensor], weights: list[float]) -> Tensor:
    """Share of the votes for each class; a member whose highest scores tie splits its vote, one without finite scores spoils the row.

    Divided by the sum of the weights last, so that with equal weights counts of votes are exact and ties stay ties.
    """
    ballots = [(z == z.amax(1, keepdim=True)).to(torch.float64) for z in scores]
    shares = [b / b.sum(1, keepdim=True) * w for b, w in zip(ballots, weights, strict=True)]
    spoilt = torch.stack([~torch.isfinite(z).all(1) for z in scores]).any(0)
    return (torch.stack(shares).sum(0) / sum(weights)).masked_fill(spoilt[:, None], torch.nan)


def margins(scores: list[Tensor]) -> Tensor:
    """By how much each member is for each class, in log-probabilities: that of the class less the highest of the others, (members, n, classes)."""
    logs = torch.stack([z.log_softmax(1) for z in scores])
    first, second = logs.topk(2, dim=2).values.unbind(2)
    others = torch.where(logs == first[:, :, None], second[:, :, None], first[:, :, None])
    return logs - others


def unanimity(scores: list[Tensor], weights: list[float]) -> Tensor:
    """For each class the least margin of any member, and 0 for "no answer" in a last column: a class wins exactly where every member is for it."""
    least = margins(scores).amin(0)
    least = torch.where(least > 0, least, least - 1e-6)  # a member that is undecided is not for it
    return torch.cat([least, torch.zeros_like(least[:, :1])], 1)


def majority(scores: list[Tensor], weights: list[float]) -> Tensor:
    """For each class the sum of the highest margins of just enough members for a majority: what must be raised for them to outvote the others."""
    enough = len(scores) // 2 + 1
    return margins(scores).topk(enough, dim=0).values.sum(0)


COMBINE: dict[str, Combine] = {"mean": log_mean_probability, "vote": votes, "unanimous": unanimity}
"""How the answers of members become one, by rule."""


class Pool(Surrogate):
    """What gradients of a committee are taken from: its members' surrogates, combined in a differentiable way."""

    def __init__(self, members: Sequence[Surrogate], weights: Sequence[float], combine: Combine) -> None:
        self.members, self.weights, self.combine = tuple(members), list(weights), combine
        self.access, self.passes = max(m.access for m in members), sum(m.passes for m in members)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        home = x.device
        scores = [m.smooth(x.to(_device_of(m, home)), None if draw is None else draw.fork(i)).to(home) for i, m in enumerate(self.members)]
        return self.combine(scores, self.weights)

    def held(self) -> AbstractContextManager[None]:
        return held_all(self.members)


class Committee(Target):
    """Several targets that answer as one.

    Args:
        members: at least one, with the same classes and the same reject column.
        rule: "mean": the log of the mean of the members' probabilities (softmax of their scores). "vote": the share of the votes for each
            class, float64; ties stay ties. Its gradients are then taken from the mean of the members' scores. "unanimous": a class where every
            member answers it, and otherwise no answer, in a last column.
        weights: one positive number for each member; equal by default.
        name: what the record calls it.

    It shows no more than the member that shows least. Member i draws its noise from the stream `draw.fork(i)`.

    Raises:
        BadTarget: no members, classes or reject columns that differ, weights that are not positive, labels where the mean needs scores.
    """

    kind: ClassVar[str] = "committee"

    def __init__(self, members: Sequence[Target], rule: str = "mean", weights: Sequence[float] | None = None, *, name: str = "") -> None:
        self.members, self.rule = tuple(members), rule
        self.name = name or f"{rule} of {len(self.members)}"
        self.weights = self._checked(weights)
        self._check()
        first = self.members[0]
        self.access = min(m.access for m in self.members)
        self.reject, self.device = first.reject, first.device
        self.randomised = any(m.randomised for m in self.members)
        self.refuses, self.metered = any(m.refuses for m in self.members), any(m.metered for m in self.members)
        self.outputs = {"mean": "probabilities", "vote": "votes"}.get(rule, "scores")
        self.passes = sum(m.passes for m in self.members)
        self._stand_in = self._pool()
        self._agree()

    def _checked(self, weights: Sequence[float] | None) -> list[float]:
        given = [1.0] * len(self.members) if weights is None else [float(w) for w in weights]
        if len(given) != len(self.members):
            raise BadTarget(f"{self.name}: {len(given)} weights for {len(self.members)} members; give one for each")
        if any(not 0 < w < float("inf") for w in given):
            raise BadTarget(f"{self.name}: weights = {given} must be positive numbers")
        return given

    def _check(self) -> None:
        if not self.members:
            raise BadTarget("a committee of no members: give at least one target")
        if self.rule not in COMBINE:
            raise BadTarget(f"rule = {self.rule!r} is not a rule of committees; {nearest(self.rule, COMBINE)}")
        rejects = {m.reject for m in self.members}
        if len(rejects) > 1:
            raise BadTarget(f"{self.name}: the members' reject columns differ ({', '.join(map(str, rejects))}); give all the same")
        if self.rule == "unanimous" and rejects != {None}:
            raise BadTarget(f"{self.name}: a member has a column for rejection, and unanimity adds its own; give members without")
        silent = [m.name for m in self.members if m.access < Access.SCORE]
        if self.rule != "vote" and silent:
            raise BadTarget(f"{self.name}: {silent[0]} only shows labels, and the rule needs scores; use rule='vote'")

    def _agree(self) -> None:
        counts = {m.name: m.classes for m in self.members if m.classes is not None}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise BadTarget(f"{self.name}: the members' numbers of classes differ: {listed}")
        known = next(iter(counts.values()), None)
        self.classes = known
        if self.rule == "unanimous" and known is not None:
            self.reject, self.classes = known, known + 1

    def _pool(self) -> Pool | None:
        stand_ins = [default_surrogate(m) for m in self.members]
        found = [s for s in stand_ins if s is not None]
        if len(found) < len(self.members) or self.access < Access.GRADIENT:
            return None
        return Pool(found, self.weights, mean_score if self.rule == "vote" else COMBINE[self.rule])

    @property
    def ways(self) -> tuple[Surrogate, ...]:
        """The mean of the scores and of the probabilities, the margin of a majority, the least margin, and every member by itself."""
        found = [s for s in (default_surrogate(m) for m in self.members) if s is not None]
        if len(found) < len(self.members) or self.access < Access.GRADIENT:
            return ()
        joint = [Pool(found, self.weights, how) for how in (mean_score, log_mean_probability, majority)]
        alone = [*joint, *(Bare(s, None) for s in found)]
        return (Pool(found, self.weights, unanimity), *(Bare(s, self.reject) for s in alone)) if self.rule == "unanimous" else tuple(alone)

    @property
    def surrogate(self) -> Surrogate | None:
        """The members' surrogates combined, where the committee itself is not differentiable; None where it is, or one has none."""
        own = self.rule != "vote" and all(m.surrogate is None for m in self.members)
        return None if own else self._stand_in

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access < Access.SCORE:
            raise NotGranted(f"{self.name}: a member only shows labels, so the committee does")
        return self._answer(x, draw)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self._answer(x, draw).argmax(1)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.rule == "vote" or self._stand_in is None:
            return super().smooth(x, draw)
        return Pool(self.members, self.weights, COMBINE[self.rule]).smooth(x, draw)

    def held(self) -> AbstractContextManager[None]:
        return held_all(self.members)

    def prepare(self, x: Tensor) -> None:
        for member in self.members:
            member.prepare(x.to(member.device))
        self._agree()
        self.classes = self._answer(x, None).shape[1]
        if self.rule == "unanimous":
            self.reject = self.classes - 1

    def sha256(self) -> str:
        each = [m.sha256() for m in self.members]
        return hashlib.sha256(f"{self.rule} {self.weights} {each}".encode()).hexdigest() if all(each) else ""

    def parameters_count(self) -> int | None:
        counts = [m.parameters_count() for m in self.members]
        known = [c for c in counts if c is not None]
        return sum(known) if len(known) == len(counts) else None

    def _answer(self, x: Tensor, draw: RowNoise | None) -> Tensor:
        with torch.no_grad():
            scores = [self._one(m, x.to(m.device), None if draw is None else draw.fork(i)) for i, m in enumerate(self.members)]
            widths = {z.shape[1] for z in scores}
            if len(widths) > 1:
                listed = ", ".join(f"{m.name} has {z.shape[1]}" for m, z in zip(self.members, scores, strict=True))
                raise BadTarget(f"{self.name}: the members' numbers of classes differ: {listed}")
            return COMBINE[self.rule](scores, self.weights)

    def _one(self, member: Target, x: Tensor, draw: RowNoise | None) -> Tensor:
        """A member's scores; of one that only shows labels, 1 for the label."""
        if member.access >= Access.SCORE:
            return member.scores(x, draw).to(self.device)
        if self.classes is None:
            raise BadTarget(f"{self.name}: the number of classes is not known before the first answer; say classes= for {member.name}")
        labels = member.labels(x, draw)
        if bool(((labels < 0) | (labels >= self.classes)).any()):
            raise BadTarget(f"{self.name}: {member.name} answered class {int(labels.max())}; the classes are 0 to {self.classes - 1}")
        return torch.nn.functional.one_hot(labels, self.classes).to(self.device, torch.float32)


def _device_of(surrogate: Surrogate, home: torch.device) -> torch.device:
    return surrogate.device if isinstance(surrogate, Target) else home
