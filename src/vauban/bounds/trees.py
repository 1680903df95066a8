"""What a forest can answer within a radius of an input: its leaves are boxes, and where boxes of all trees meet, the answer is one.

The regions in which a forest is constant are intersections of one leaf of each tree. Merged tree by tree, and cut down to those that reach into
the ball, they are the whole truth about small forests; merged in groups, they bound large ones (Chen et al. 2019, arXiv:1906.03849).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.errors import BadData
from vauban.geometry import Body, body_of
from vauban.geometry.boxes import nearest
from vauban.target.forest import Forest
from vauban.target.trees import Trees
from vauban.threat import INF, Ball


@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes (m, features) with the scores (m, classes) that some trees give there, and how far each is from the clean input, (m,)."""

    lo: Tensor
    hi: Tensor
    score: Tensor
    distance: Tensor

    def __len__(self) -> int:
        return len(self.lo)

    def take(self, index: Tensor) -> Regions:
        return Regions(self.lo[index], self.hi[index], self.score[index], self.distance[index])


class Surroundings:
    """One input and the leaves that can be reached from it within a radius.

    Args:
        forest: the model.
        body: what measures distance, and its box.
        x0: float (features,) in the shape of an input, the clean input.
        radius: the largest distance that counts.
        wins: bool (classes,), the classes whose being answered is a success.
    """

    def __init__(self, forest: Forest, body: Body, x0: Tensor, radius: float, wins: Tensor) -> None:
        self.forest, self.body, self.x0, self.radius, self.wins = forest, body, x0[None], radius, wins
        self.limits = body.within(INF).limits(self.x0)
        leaves = forest.leaves(x0.dtype)
        lo, hi = leaves.lo.to(x0.dtype), leaves.hi.to(x0.dtype)
        every = Regions(lo, hi, leaves.value, self._distance(lo, hi))
        near = every.distance <= radius
        self.trees = [every.take((near & (leaves.tree == t)).nonzero()[:, 0]) for t in range(len(forest))]

    def _distance(self, lo: Tensor, hi: Tensor) -> Tensor:
        shape = (len(lo), 1, *self.x0.shape[1:])
        return nearest(self.body, self.x0, self.limits, lo.view(shape), hi.view(shape))[1][:, 0]

    def _near(self, regions: Regions) -> Regions:
        return regions.take((regions.distance <= self.radius).nonzero()[:, 0])

    def merged(self, a: Regions, b: Regions) -> Regions:
        """Where the boxes of two groups of trees meet within the radius."""
        lo = torch.maximum(a.lo[:, None], b.lo).flatten(0, 1)
        hi = torch.minimum(a.hi[:, None], b.hi).flatten(0, 1)
        score = (a.score[:, None] + b.score).flatten(0, 1)
        met = (lo <= hi).all(1).nonzero()[:, 0]
        lo, hi = lo[met], hi[met]
        return self._near(Regions(lo, hi, score[met], self._distance(lo, hi)))

    def most(self, groups: list[Regions]) -> Tensor:
        """An upper bound, one for each winning class, of its lead over the best of the losing ones: each group gives its most, float64 (wins,).

        Of the losing classes the one is taken that bounds the lead best. Where there is one group it is exact.
        """
        lead = (self.forest.base[self.wins][:, None] - self.forest.base[~self.wins]).clone()
        if len(groups) == 1:
            score = groups[0].score + self.forest.base
            return (score[:, self.wins] - score[:, ~self.wins].amax(1, keepdim=True)).amax(0)
        for g in groups:
            lead = lead + (g.score[:, self.wins][:, :, None] - g.score[:, ~self.wins][:, None]).amax(0)
        return lead.amin(1)

    def winning(self, most: int) -> Regions | None:
        """All regions within the radius whose answer is a success, nearest first; None where there are more than `most` to look at.

        A region that no remaining trees can turn into a success is dropped on the way.
        """
        if any(len(t) == 0 for t in self.trees):
            return self.trees[0].take(torch.zeros(0, dtype=torch.int64))
        order = sorted(self.trees, key=len)
        found = order[0]
        found = Regions(found.lo, found.hi, found.score + self.forest.base, found.distance)
        for place, tree in enumerate(order[1:], start=1):
            found = self._hopeful(found, order[place:])
            if len(found) * len(tree) > most:
                return None
            found = self.merged(found, tree)
        found = found.take((_margin(found.score, self.wins) > self.forest.slack).nonzero()[:, 0])
        return found.take(torch.sort(found.distance, stable=True).indices)

    def _hopeful(self, found: Regions, rest: list[Regions]) -> Regions:
        up = torch.stack([t.score.amax(0) for t in rest]).sum(0)
        down = torch.stack([t.score.amin(0) for t in rest]).sum(0)
        bound = torch.where(self.wins, found.score + up, found.score + down)
        return found.take((_margin(bound, self.wins) > self.forest.slack).nonzero()[:, 0])

    def bound(self, most: int) -> float:
        """An upper bound of the best margin that a success could have within the radius: below 0 it is proven that there is none.

        Pairs of groups are merged, the smallest first, as long as a pair has no more than `most` boxes to look at.
        """
        groups = sorted(self.trees, key=len)
        if any(len(t) == 0 for t in groups):
            return -INF  # nothing of the box is within the radius
        while len(groups) > 1 and float(self.most(groups).max()) >= -self.forest.slack and len(groups[0]) * len(groups[1]) <= most:
            groups = sorted([self.merged(groups[0], groups[1]), *groups[2:]], key=len)
            if not len(groups[0]):
                return -INF
        return float(self.most(groups).max())


def _margin(score: Tensor, wins: Tensor) -> Tensor:
    return score[:, wins].amax(1) - score[:, ~wins].amax(1)


def certify_trees(target: Trees, x: Tensor, y: Tensor, ball: Ball, *, most: int = 1 << 16) -> Tensor:
    """Prove of rows that a forest's answer stays right in the whole ball.

    Args:
        target: the forest.
        x: float (n, *shape), clean rows inside the ball's box.
        y: int64 (n,), true classes.
        ball: Lp ball, box and mask.
        most: how many pairs of boxes are looked at in one merger; more is tighter, and dearer.

    Returns:
        float64 (n,): the true class leads every other by at least this much everywhere in the ball; positive is a proof. In the units of the
        forest's own sums: shares of votes, or raw scores of boosting.

    Raises:
        BadData: rows and labels do not fit, or rows lie outside the box.
    """
    if len(x) != len(y) or int(y.min()) < 0 or int(y.max()) >= target.forest.classes:
        raise BadData(
            f"{len(x)} rows and {len(y)} labels from {int(y.min())} to {int(y.max())}; the forest has {target.forest.classes} classes"
        )
    body = body_of(ball, x)
    if bool((body.outside(x, x) > 1e-6 * body.width).any()):
        raise BadData(
            f"row {int(body.outside(x, x).argmax())} lies outside the box of the ball; give the bounds of the inputs as lo and hi"
        )
    classes = torch.arange(target.forest.classes)
    leads = [-Surroundings(target.forest, body, row, ball.eps, classes != label).bound(most) for row, label in zip(x, y, strict=True)]
    return torch.tensor(leads, dtype=torch.float64) - target.forest.slack
