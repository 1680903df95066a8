"""The scores as a function of the input, near a few rows of the sample: by the target itself, and by the gradient that attacks are given."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vauban.campaign.doubts.probe import Probe, probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.doors import Aim, Loss
from vauban.doors.oracle.passes import Chunks
from vauban.geometry import body_of
from vauban.noise import RowNoise
from vauban.target import Surrogate
from vauban.threat import Access, Ball, Patch

FEW = 16
"""Rows looked at."""
ROUNDING = 1e-6
WIDEST = 0.1
"""The longest step, as a share of the box."""


class Surface:
    """The target around a random point of the ball of each of the sample's first rows, always with the same noise where it draws any.

    Attributes:
        x: (n, *shape) on the target's device, the points; a step of `reach` away from the walls of the box where it is wide enough.
        reach: how far the threat moves a feature, in the mean over features; at most a tenth of the box.
        width: of the box.
        aim: the goal of these rows.
    """

    def __init__(self, probe: Probe, ball: Ball | Patch) -> None:
        plan = probe.plan
        self.target, self.surrogate = plan.target, probe.surrogate or plan.target
        device = self.target.device
        clean, y, ids = (t[:FEW].to(device) for t in (probe.x, probe.y, probe.ids))
        self._noise = RowNoise(ids, plan.seed, "doubts")
        self._chunks = Chunks(min(plan.max_rows or FEW, FEW))
        body = body_of(ball, clean)
        self.width = body.width
        self.reach = _reach(ball, math.prod(plan.data.shape), self.width)
        self._lower, self._upper = body.within(math.inf).limits(clean)
        self._give = ((self._upper - self._lower) / 2 / self.reach).clamp_max(1)
        wall = self.reach * (1 + self._noise.fork("wall").uniform(*clean.shape[1:]) / 2)  # not all at one value, which may be a special one
        room = torch.minimum((self._upper - self._lower) / 2, wall)
        away = self.signs("start") * self._noise.fork("how far").uniform(*clean.shape[1:]) * self.reach
        self.x = torch.clamp(clean + away, self._lower + room, self._upper - room)
        self.aim = Aim.of_goal(probe.threat.goal, y, self.scores(self.x).shape[1], self.target.reject, ids)

    def __len__(self) -> int:
        return len(self.x)

    def signs(self, *word: str | int) -> Tensor:
        """A random direction a row (n, *shape): every feature goes 1 up or down, or as far as lets a step of `reach` stay in the box."""
        return self._noise.fork(*word).sign(*self._lower.shape[1:]) * self._give

    def anywhere(self) -> Tensor:
        """Other inputs, (n, *shape), uniform in the box."""
        return self._lower + (self._upper - self._lower) * self._noise.fork("anywhere").uniform(*self._lower.shape[1:])

    def scores(self, x: Tensor) -> Tensor:
        """The target's scores (n, classes) of these rows moved to x (n, *shape)."""
        return self._chunks.whole(len(x), lambda s: (self.target.scores(x[s], self._draw(self.target, s)).to(x.device),))[0]

    def margin(self, x: Tensor) -> Tensor:
        """The target's margin, float64 (n,) on the CPU."""
        return self.aim.margin(self.scores(x)).cpu().double()

    @property
    def rounding(self) -> Tensor:
        """What rounding in single precision does to it at the points, float64 (n,) on the CPU; an ample guess."""
        return ROUNDING * self.scores(self.x).abs().amax(1).cpu().double()

    def slope(self, x: Tensor, loss: Loss = Aim.margin) -> Tensor | None:
        """The gradient (n, *shape) of an objective that attacks are given; None where no graph leads from the answer to the input."""
        parts = [self._slope(x, slice(i, i + self._chunks.most), loss) for i in range(0, len(x), self._chunks.most)]
        found = [p for p in parts if p is not None]
        return torch.cat(found) if len(found) == len(parts) else None

    def _slope(self, x: Tensor, s: slice, loss: Loss, draw: RowNoise | None = None) -> Tensor | None:
        with self.target.held(), self.surrogate.held(), torch.enable_grad():
            leaf = x[s].detach().requires_grad_()
            z = self.surrogate.smooth(leaf, draw or self._draw(self.surrogate, s))
            if not z.requires_grad:
                return None
            rows = torch.arange(len(x), device=x.device)[s]
            return torch.autograd.grad(loss(self.aim.take(rows), z).sum(), leaf, allow_unused=True)[0]

    def drawn(self, x: Tensor, number: int) -> Tensor | None:
        """The gradient of the margin with other noise each `number`."""
        rows = torch.arange(len(x), device=x.device)
        return self._slope(x, slice(0, len(x)), Aim.margin, self._noise.fork("draw").at(torch.full_like(rows, number)))

    def _draw(self, by: Surrogate, s: slice) -> RowNoise | None:
        if not getattr(by, "randomised", True):
            return None
        return self._noise.take(torch.arange(len(self._noise), device=self._noise.ids.device)[s])


def _reach(ball: Ball | Patch, features: int, width: float) -> float:
    """How far a change of the whole radius, spread evenly, moves one feature; at most `WIDEST` of the box."""
    if isinstance(ball, Patch) or math.isinf(ball.eps) or ball.norm == 0:
        return WIDEST / 2 * width
    even = ball.eps if math.isinf(ball.norm) else ball.eps / math.sqrt(features)
    return min(even, WIDEST * width)


@lru_cache(maxsize=1)
def surface_of(scene: Scene) -> Surface | None:
    """The surface of a scene, shared by the doubters that look at it; None where there is none: no row, labels only, transformations."""
    probe, allowed = probe_of(scene), scene.siege.threat.perturbation
    if not probe.has_gradient or not isinstance(allowed, Ball | Patch) or probe.plan.target.access < Access.SCORE:
        return None
    return Surface(probe, allowed)
