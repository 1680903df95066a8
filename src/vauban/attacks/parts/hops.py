"""What HopSkipJump and GeoDA share: to the boundary, an estimate of its normal, a move along it, and again; every row in a phase of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.attacks.parts.probes import around, begin_estimate, directions, enter, estimate, no_sums, put
from vauban.attacks.parts.segment import between, halved, rounds, size_of
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.subspace import Subspace
from vauban.attacks.parts.turns import FOREVER, ask
from vauban.doors import Oracle, Rows
from vauban.threat import INF

PROJECT, ESTIMATE, JUMP = range(3)
KINDS = ("projection", "gradient", "step")
MOST, LEAST = 10_000, 10
"""Probes of one estimate."""
FINE = 1e-5
"""The last search for the boundary goes on to here, as long as there are questions left."""


@dataclass(frozen=True)
class Rules:
    """What is an attack's own.

    Attributes:
        probes: from the number of an estimate, 1 and up, and the state, how many questions it takes, float (n,).
        delta: how far probes go, float (n,).
        size: of a first jump, float (n,).
        jump: where a jump of size `s.size` leads, (n, *shape).
        again: a jump that did not fool is tried again with its size times this, ...
        tries: ... so often.
    """

    probes: Callable[[Rows], Tensor]
    delta: Callable[[Rows], Tensor]
    size: Callable[[Rows], Tensor]
    jump: Callable[[Rows], Tensor]
    again: float
    tries: int


class Hops:
    """The state of all rows, and their turns.

    Attributes of `s`: `x` the point on the boundary, `end` what is searched towards, the bracket `low` and `high` on the way there, the `phase`,
    the number `t` of the estimate, its `normal`, the `size` of the jump, how many `lost`, and the sums of the estimate.
    """

    def __init__(self, o: Oracle, start: Tensor, theta: float, space: Subspace, rules: Rules) -> None:
        self.o, self.theta, self.space, self.rules = o, theta, space, rules
        zero, whole = start.new_zeros(len(o)), torch.zeros(len(o), dtype=torch.int64, device=start.device)
        self.s = o.rows(
            x=start,
            end=start,
            low=zero,
            high=zero + 1,
            phase=whole,
            t=whole,
            normal=torch.zeros_like(start),
            size=zero,
            lost=whole,
            **no_sums(o),
        )

    def run(self, steps: int) -> None:
        """Until every row has had so many estimates, or its budget is spent."""
        o, s = self.o, self.s
        for _ in o.steps(FOREVER):
            estimating, jumping = s.phase == ESTIMATE, s.phase == JUMP
            jumps = bool(jumping.any())
            single = between(o, s.end, (s.low + s.high) / 2)
            if jumps:
                single = pick(jumping, self.rules.jump(s).clamp(*o.limits), single)
            won = self._ask(single, estimating)
            self._project(won)
            if jumps:
                self._jump(single, won, jumping)
            self._estimated(estimating & (s.wants <= 0))
            o.leave(s.t > steps)

    def _ask(self, single: Tensor, estimating: Tensor) -> Tensor:
        """One turn of all rows; the answers to the single questions, bool (n,)."""
        o, s = self.o, self.s
        rows = estimating.nonzero()[:, 0]
        if not len(rows):
            return ask(o, single, s.phase, KINDS)[0]
        u = directions(o, s, rows, self.space, uniform=o.ball.p == INF)
        cloud = around(o, s, rows, s.x[rows], self.rules.delta(s)[rows], u)
        v, where = put(o, single, ~estimating, cloud)
        won, answered = ask(o, v, s.phase, KINDS, where)
        enter(s, cloud, won[:, rows].T, answered[:, rows].T)
        return won[0] & ~estimating

    def _estimated(self, done: Tensor) -> None:
        """Rows that have all their probes jump next."""
        o, s = self.o, self.s
        if bool(done.any()):
            s.normal = pick(done, estimate(o, s), s.normal)
            s.size = torch.where(done, self.rules.size(s), s.size)
            s.lost = torch.where(done, 0, s.lost)
            s.phase = torch.where(done, JUMP, s.phase)

    def _project(self, won: Tensor) -> None:
        """One halving of the way to the boundary; who is there wants the next estimate, or, too poor for one, looks closer."""
        s = self.s
        here = s.phase == PROJECT
        s.low, s.high = halved(s.low, s.high, won, here)
        width = s.high - s.low
        poor = self._affordable() < LEAST
        done = here & torch.where(poor, width <= FINE, width <= self.theta)
        if bool(done.any()):
            s.x = pick(done, between(self.o, s.end, s.high), s.x)
            self._next(done)

    def _affordable(self) -> Tensor:
        """As many probes as leave a row the questions to use them, int64 (n,)."""
        return self.o.left - rounds(self.theta) - 2

    def _next(self, done: Tensor) -> None:
        s = self.s
        s.t = s.t + done.long()
        probes = torch.minimum(self.rules.probes(s).long().clamp(LEAST, MOST), self._affordable())
        s.phase = torch.where(done, ESTIMATE, s.phase)
        begin_estimate(s, done, probes)
        self.o.leave(done & (probes < LEAST))

    def _jump(self, at: Tensor, won: Tensor, here: Tensor) -> None:
        """Rows whose jump fooled search from there; the others try another, or stay where they are."""
        s = self.s
        there, lost = here & won, here & ~won
        s.end = pick(there, at, s.end)
        s.low, s.high = torch.where(there, 0.0, s.low), torch.where(there, 1.0, s.high)
        s.phase = torch.where(there, PROJECT, s.phase)
        s.size, s.lost = torch.where(lost, s.size * self.rules.again, s.size), s.lost + lost.long()
        stuck = lost & (s.lost >= self.rules.tries)
        if bool(stuck.any()):
            self._next(stuck)


def fine(o: Oracle, s: Rows, theta: float) -> Tensor:
    """How far probes go, float (n,): so far that in the direction of the normal they go as far as a search that ends at `theta` may be off."""
    features = s.sum_u.shape[1]
    return size_of(o, s.x - o.x) * theta * (features if o.ball.p == INF else features**0.5)
