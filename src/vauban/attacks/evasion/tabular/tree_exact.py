"""The smallest change that fools a tree, or a small ensemble, by looking at every region where its answer is one."""

import torch
from torch import Tensor

from vauban.attacks.parts.forests import Reach, ask_nearest, forest_of, lead, nearest_first
from vauban.attacks.registry import Count, attack
from vauban.bounds.trees import Surroundings
from vauban.doors import Oracle
from vauban.target.forest import Forest
from vauban.threat import INF, Access

BLOCK = 1 << 22
"""Numbers in one tensor of boxes against rows."""
FIRST = 2.0**-10
"""The first radius looked at, in diameters of the box; it is doubled until something is found."""


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1", "l0", "features"),
    minimal=True,
    trees=True,
    paper="Kantchelian et al. 2016, arXiv:1509.07892, for the problem; a tree's leaves are boxes, and the nearest that wins is the answer",
)
def tree_exact(o: Oracle, tries: Count = 10, regions: Count = 200_000) -> None:
    """The nearest of all boxes of inputs that win: exact for a tree, and for ensembles of which few regions are near.

    A tree's leaf is a box, and its nearest point is the clean input moved to the box in every feature. Of an ensemble, the leaves within a radius
    are merged tree by tree, and the radius is doubled until a winning region is found; a row is left when a merger would look at more than
    `regions` boxes. Bounds, types and directions of features are met exactly; relations between features are only checked at the nearest point of
    each box, so with them it is an attack like others. Costs one question a row, and up to `tries` where the model's own rounding decides.
    """
    forest = forest_of(o)
    if len(forest) > 1:
        found = [_nearest_regions(o, forest, torch.tensor([row]), tries, regions) for row in range(len(o))]
    else:
        rows = max(BLOCK // len(forest.value) // forest.features, 1)
        found = [_nearest_leaves(o, forest, part, tries) for part in torch.arange(len(o)).split(rows)]
    points, distance = (torch.cat(parts) for parts in zip(*found, strict=True))
    ask_nearest(o, points, distance)


def _nearest_leaves(o: Oracle, forest: Forest, rows: Tensor, tries: int) -> tuple[Tensor, Tensor]:
    """The nearest points of the nearest winning leaves of some rows: (k, tries, features), and their distances (k, tries)."""
    leaves, reach = forest.leaves(o.x.dtype), Reach.of(o, rows)
    point, distance = reach.to(leaves.lo[:, None], leaves.hi[:, None])
    wins = lead(reach.wins, (leaves.value + forest.base)[:, None].expand(-1, len(rows), -1)) > forest.slack
    return nearest_first(*reach.settled(point, distance.masked_fill(~wins, INF), forest), tries)


def _nearest_regions(o: Oracle, forest: Forest, row: Tensor, tries: int, most: int) -> tuple[Tensor, Tensor]:
    """The same for one row (1,) of an ensemble: of its winning regions up to the least radius of a series that has any."""
    reach, known = Reach.of(o, row), float(o.distance[row])
    goes_on = o.curve or o.settle == "nearest"
    largest = min(known, float(o.ball.distance(*reach.limits)) * (1 + 1e-9), INF if goes_on else o.eps)
    radius = min(max(largest * FIRST, float(o.ball.p == 0)), largest)
    nothing = o.x.new_zeros(1, tries, forest.features), torch.full((1, tries), INF, dtype=torch.float64)
    while True:
        found = Surroundings(forest, o.ball, reach.x0[0], radius, reach.wins[0]).winning(most)
        if found is None:
            return nothing
        if len(found):
            best = nearest_first(*reach.settled(*reach.to(found.lo[:, None], found.hi[:, None]), forest), tries)
            if bool(torch.isfinite(best[1]).any()):
                return best
        if radius >= largest:
            return nothing
        radius = min(2 * radius, largest)
