"""What an insider reads out of a forest: who wins in a leaf tuple, and how far a box of inputs is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.geometry import Body
from vauban.geometry.boxes import nearest
from vauban.geometry.features import Tabular
from vauban.target.forest import Forest
from vauban.target.trees import Trees
from vauban.threat import INF


def forest_of(o: Oracle) -> Forest:
    """The trees of the target.

    Raises:
        BadPlan: the target is no `Trees`, or a black box around one; or its inputs have another number of features.
    """
    if not isinstance(o.target, Trees):
        raise BadPlan(
            f"{o.target.name} shows no trees; attacks on trees need an insider's view of a tree ensemble: vauban.Trees(estimator), or "
            'access = "gradient" for the target in a campaign file'
        )
    return o.target.forest


def lead(wins: Tensor, score: Tensor) -> Tensor:
    """By how much the best winning class leads, float64 (..., n), of scores (..., n, classes); `wins` is bool (n, classes)."""
    return score.masked_fill(~wins, -INF).amax(-1) - score.masked_fill(wins, -INF).amax(-1)


@dataclass(frozen=True, eq=False)
class Reach:
    """Some rows (k) as they are now, and how far boxes are from them inside what the threat allows."""

    body: Body
    x0: Tensor
    limits: tuple[Tensor, Tensor]
    wins: Tensor

    @classmethod
    def of(cls, o: Oracle, rows: Tensor) -> Reach:
        """Live rows, by their places."""
        return cls(o.ball, o.x, o.limits, o.aim.wins).some(rows)

    def some(self, rows: Tensor) -> Reach:
        """Some of the rows, in any order and number."""
        return Reach(self.body, self.x0[rows], (self.limits[0][rows], self.limits[1][rows]), self.wins[rows])

    def to(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest points (m, k, features) of boxes (m, k | 1, features), and their distances (m, k): inf where nothing is allowed."""
        shape = self.x0.shape[1:]
        low, high = (b.to(self.x0.dtype).reshape(*b.shape[:2], *shape) for b in (lo, hi))
        point, distance = nearest(self.body, self.x0, self.limits, low, high)
        return point.flatten(2), distance

    def settled(self, points: Tensor, distance: Tensor, forest: Forest) -> tuple[Tensor, Tensor]:
        """Points (m, k, features) with the features that relations define, and their distances (m, k): inf where that leaves a winning answer,
        or where a constraint does not hold."""
        if not isinstance(self.body, Tabular):
            return points, distance
        points = self.body.assign(points)
        legal = (self.body.outside(points, self.x0) == 0) & (lead(self.wins, forest.scores(points)) > forest.slack)
        return points, torch.where(legal & torch.isfinite(distance), self.body.distance(self.x0, points), INF)


def nearest_first(points: Tensor, distance: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Of points (m, k, features) the nearest of each row, at most so many: (k, most, features) and distances (k, most), inf where there is none."""
    distance, order = torch.sort(distance, dim=0, stable=True)
    order, distance = order[:most], distance[:most]
    chosen = points.gather(0, order[:, :, None].expand(-1, -1, points.shape[2]))
    lacking = most - len(order)
    pad = points.new_zeros(lacking, *points.shape[1:])
    return torch.cat([chosen, pad]).transpose(0, 1), torch.cat([distance, distance.new_full((lacking, distance.shape[1]), INF)]).T


def ask_nearest(o: Oracle, points: Tensor, distance: Tensor) -> None:
    """Ask about points (n, tries, features), nearest first, until one wins; distances (n, tries) are inf where there is none."""
    s = o.rows(points=points, distance=distance)
    for i in o.steps(points.shape[1]):
        there = torch.isfinite(s.distance[:, i])
        won = o.fooled(s.points[:, i].reshape(o.x.shape), there)
        o.leave(won | ~torch.isfinite(s.distance[:, i + 1 :]).any(1))
