"""The referee: decides from an answer whether the attacker has won, and verifies what is to be kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.doors.oracle.aim import Aim
from vauban.doors.oracle.passes import Chunks
from vauban.errors import BadTarget
from vauban.geometry import Body, Space, per_row
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target
from vauban.threat import Access

CONFIRMATIONS = 9
"""Fresh draws that a candidate success against a randomised target is asked again; it counts by majority."""


@dataclass(frozen=True, eq=False)
class Win:
    """Verified examples: indices into the rows judged, the variable as kept, its distance, and the share of draws it fooled."""

    index: Tensor
    v: Tensor
    distance: Tensor
    share: Tensor


class Referee:
    """Judges answers of one target under one threat. The attacker cannot reach it, and it charges nobody."""

    def __init__(self, target: Target, space: Space, chunks: Chunks, classes: int, seed: int) -> None:
        self.target, self.space, self.chunks, self.classes = target, space, chunks, classes
        self.body = space.body
        self.seed = seed

    def scores(self, x: Tensor, draw: RowNoise | None) -> Tensor:
        """The target's scores; from a target that only shows labels, 1 for the label and 0 elsewhere; NaN where it gave no answer.

        Raises:
            BadTarget: the number of classes changed since the first answer.
        """
        if self.target.access >= Access.SCORE:
            return self.checked(self.target.scores(x, draw), x.shape[0], self.target).to(x.device)
        labels = self.target.labels(x, draw).to(x.device)
        missing = labels == -1 if self.target.refuses else torch.zeros_like(labels, dtype=torch.bool)
        if bool((((labels < 0) & ~missing) | (labels >= self.classes)).any()):
            raise BadTarget(f"{self.target.name}: answered class {int(labels.max())}; the labels are 0 to {self.classes - 1}")
        z = torch.nn.functional.one_hot(labels.clamp_min(0), self.classes).to(torch.float32)
        return torch.where(missing[:, None], torch.nan, z) if self.target.refuses else z

    def checked(self, z: Tensor, rows: int, by: Surrogate) -> Tensor:
        """Scores of the target or of a stand-in, once they have the shape of the first answer."""
        if z.shape == (rows, self.classes):
            return z
        name, shape = self.target.name, tuple(z.shape)
        if by is self.target:
            raise BadTarget(f"{name}: {self.classes} classes at first, and now outputs of shape {shape} for {rows} inputs")
        raise BadTarget(
            f"the surrogate answers {rows} inputs with shape {shape}, and {name} has {self.classes} classes; give one with as many"
        )

    def ask(self, x: Tensor, v: Tensor, noise: RowNoise | None) -> Tensor:
        """Scores (m, classes) of the inputs that variables v stand for, uncharged."""

        def part(s: slice) -> tuple[Tensor]:
            rows = torch.arange(s.start, s.stop, device=x.device)
            return (self.scores(self.space.decode(x[s], v[s]), None if noise is None else noise.take(rows)),)

        return self.chunks.whole(len(v), part)[0]

    def verify(self, x: Tensor, v: Tensor, met: Tensor, aim: Aim, noise: RowNoise | None, body: Body) -> Win:
        """Of the answers that met the goal with finite scores, those that count: inside the box and within the radius of the search, `body`.

        What lies outside by no more than the tolerance is projected inward and asked again, so that what is kept passes with none.
        """
        index = met.nonzero()[:, 0]
        x, v = _rows(x, index), _rows(v, index)
        v0 = self.space.start(x)
        distance = body.distance(v0, v)
        if self._plain(v, distance, body):
            win = Win(index, v, distance, torch.ones(len(index), device=v.device))
        else:
            win = self._sifted(x, v, v0, index, distance, aim, noise, body)
        return win if noise is None or not len(win.index) else self._confirmed(_rows(x, win.index), win, aim, noise)

    def _plain(self, v: Tensor, distance: Tensor, body: Body) -> bool:
        """A cheap look whether all examples lie inside the box, and none so near the radius that a tolerance would decide."""
        eps = self.body.eps
        clear = distance <= eps
        if body.eps == math.inf and eps < math.inf:
            clear |= distance > eps + self.body.tolerance
        return body.holds(v) and bool(clear.all())

    def _sifted(
        self, x: Tensor, v: Tensor, v0: Tensor, index: Tensor, distance: Tensor, aim: Aim, noise: RowNoise | None, body: Body
    ) -> Win:
        """The examples that lie inside, by the tolerances, mended where they need to be."""
        radius = body.eps
        outside = body.outside(v, v0)
        legal = (outside <= 1e-7 * body.width) & (distance <= radius + body.tolerance)
        mend = legal & ((outside > 0) | ((distance > self.body.eps) & (distance <= self.body.eps + self.body.tolerance)))
        if bool(mend.any()):
            own = None if noise is None else noise.take(index)
            v, distance, legal = self._mended(x, v, distance, legal, mend, aim.take(index), own, searching=radius == math.inf)
        ok = legal.nonzero()[:, 0]
        kept = ok.to(index.device)
        return Win(_rows(index, kept), _rows(v, kept), _rows(distance, ok), torch.ones(len(ok), device=v.device))

    def _mended(
        self, x: Tensor, v: Tensor, distance: Tensor, legal: Tensor, mend: Tensor, aim: Aim, noise: RowNoise | None, *, searching: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Project the rows marked by `mend` inward, and see whether they still win: into the box, and into the radius if it is as near.

        While a smallest change is sought, what only wins a little beyond the radius counts as it was.
        """
        rows, body = mend.to(v.device).nonzero()[:, 0], self.body
        x, v0, tried = x[rows], self.space.start(x[rows]), v[rows]
        near = (distance[mend] <= body.eps + body.tolerance).to(v.device)
        boxed = torch.clamp(tried, *body.within(math.inf).limits(v0))
        inward = torch.where(per_row(near, v0), body.project(v0, tried, body.limits(v0)), boxed)
        inward, sent = self._received(inward, x, v0) if self.space.identity else (inward, inward)
        again = self.ask(x, sent, None if noise is None else noise.take(rows))
        still = (aim.take(rows).margin(again) > 0) & torch.isfinite(again).all(1)
        v, distance, legal = v.clone(), distance.clone(), legal.clone()
        v[rows[still]] = inward[still]
        distance[mend] = torch.where(still.to(distance.device), body.distance(v0, inward), distance[mend])
        legal[mend] = still.to(legal.device) | ((body.outside(tried, v0) == 0) & searching)
        return v, distance, legal

    def _received(self, v: Tensor, x: Tensor, v0: Tensor) -> tuple[Tensor, Tensor]:
        """Points as they are kept, and as the target receives them.

        Those are the same, except where a level of what is sent lies a rounding of float32 beyond the radius that it stands for (8 of 255 levels and
        8/255): there the point just inside is kept, which is received as that level.
        """
        sent = self.target.wire(v, x)
        beyond = (self.body.distance(v0, sent) > self.body.eps).to(v.device)
        if not bool(beyond.any()):
            return sent, sent
        same = (self.target.wire(v) == sent).flatten(1).all(1)
        return torch.where(per_row(beyond & same, sent), v, sent), sent

    def _confirmed(self, x: Tensor, win: Win, aim: Aim, noise: RowNoise) -> Win:
        """Ask each candidate again, x its clean inputs, with fresh draws of its row; only a majority counts."""
        votes = torch.zeros(len(win.index), device=x.device)
        of_rows, rows = aim.take(win.index), noise.take(win.index)
        for k in range(CONFIRMATIONS):
            z = self.ask(x, win.v, rows.at(torch.full_like(win.index, k)))
            votes += ((of_rows.margin(z) > 0) & torch.isfinite(z).all(1)).float()
        share = votes / CONFIRMATIONS
        sure = share > 0.5
        return Win(win.index[sure], win.v[sure], win.distance[sure.to(win.distance.device)], share[sure])


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Some rows in ascending order; the tensor itself where these are all."""
    return values if index.shape[0] == values.shape[0] else values[index]
