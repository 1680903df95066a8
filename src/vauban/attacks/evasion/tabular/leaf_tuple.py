"""The leaf-tuple attack: from leaf to leaf of one tree at a time, ever nearer to the clean input, on the side that wins."""

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.attacks.parts.forests import Reach, ask_nearest, forest_of, lead, nearest_first
from vauban.attacks.registry import Count, attack
from vauban.doors import Oracle
from vauban.geometry.features import Tabular
from vauban.target.forest import Forest, Leaves
from vauban.threat import INF, Access

BLOCK = 1 << 22
"""Numbers in one tensor of neighbouring boxes."""
SIZES = (0.1, 0.25, 0.5, 1.0)
"""Sizes of random changes that are tried for a start, as shares of the box."""
HALVINGS = 20


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1", "l0", "features"),
    minimal=True,
    trees=True,
    paper="Zhang et al. 2020, arXiv:2010.11598, algorithm 1",
)
def leaf_tuple(o: Oracle, starts: Count = 20, steps: Count = 300, tries: Count = 5) -> None:
    """Descent over tuples of leaves, one of each tree: the nearest neighbouring tuple that still wins, until none is nearer.

    A neighbour differs in one tree's leaf, and its box is where that leaf meets the leaves of all other trees; only trees that hold the nearest
    point of the present box back are looked at. It begins from a climb out of the clean row's own tuple, which takes at every step the leaf that
    gains most for its distance, and from random rows that win, whose changes are taken back and halved as far as they still win. The trees are
    read and not asked: a row costs one question, and up to `tries` where the model's own rounding, or a relation between features, is against
    the nearest.
    """
    forest = forest_of(o)
    tuples = torch.stack([forest.apply(_random_winner(o, forest)) for _ in range(starts)])
    rows = max(BLOCK // (len(forest) * forest.features), 1)
    found: list[tuple[Tensor, Tensor]] = []
    for part in torch.arange(len(o)).split(rows):
        search = Search(forest, forest.leaves(o.x.dtype), Reach.of(o, part))
        begun = [search.climbed(steps), *(t[part] for t in tuples)]
        ends = [search.end(search.descended(t, steps)) for t in begun]
        points, distance = (torch.stack(column) for column in zip(*ends, strict=True))
        found.append(nearest_first(*search.reach.settled(points, distance, forest), tries))
    points, distance = (torch.cat(column) for column in zip(*found, strict=True))
    ask_nearest(o, points, distance)


def _random_winner(o: Oracle, forest: Forest) -> Tensor:
    """For each row a random input (n, features) that wins and is not far; the clean row where none was found.

    Changes are towards random points or corners of the box, of all features or a random half, of several sizes, and the first that wins is taken;
    random halves of the features are then put back, and the rest moved towards the clean row, where that still wins.
    """
    lower, upper = o.limits
    shape, flat = o.x.shape[1:], o.x.flatten(1)

    def wins(x: Tensor) -> Tensor:
        return lead(o.aim.wins, forest.scores(x)) > forest.slack

    won, found = torch.zeros(len(o), dtype=torch.bool), flat
    for size in SIZES:
        for share, corner in ((1.0, False), (0.5, False), (1.0, True), (0.5, True)):
            part = o.noise.uniform(*shape).to(o.x)
            end = lower + (upper - lower) * (part.round() if corner else part)
            chosen = o.noise.uniform(*shape).to(o.x) < share
            tried = _legal(o, torch.where(chosen, o.x + size * (end - o.x), o.x)).flatten(1)
            new = ~won & wins(tried)
            found, won = torch.where(new[:, None], tried, found), won | new
    for _ in range(HALVINGS):
        back = o.noise.uniform(*shape).to(o.x).flatten(1) < 0.5
        tried = _legal(o, torch.where(back, flat, found).view(o.x.shape)).flatten(1)
        found = torch.where((won & wins(tried))[:, None], tried, found)
    near = flat
    for _ in range(HALVINGS):
        middle = _legal(o, ((near + found) / 2).view(o.x.shape)).flatten(1)
        new = wins(middle)
        found, near = torch.where((won & new)[:, None], middle, found), torch.where(new[:, None], near, middle)
    return found


def _legal(o: Oracle, x: Tensor) -> Tensor:
    return o.ball.repair(o.x, x, o.limits) if isinstance(o.ball, Tabular) else x


Cost = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of distances and leads (leaves, p) and the places of the pairs (p,): what each leaf costs, inf where it will not do."""


def _first_of_row(row: Tensor, places: Tensor) -> Tensor:
    """Of the places in `row`, which ascends, the first of each row."""
    of = row[places]
    first = torch.ones_like(of, dtype=torch.bool)
    first[1:] = of[1:] != of[:-1]
    return places[first]


class Search:
    """Steps from leaf tuple to leaf tuple for some rows. A tuple is int64 (k, trees), the place of a leaf of each tree."""

    def __init__(self, forest: Forest, leaves: Leaves, reach: Reach) -> None:
        self.forest, self.leaves, self.reach = forest, leaves, reach
        counts = torch.bincount(leaves.tree, minlength=len(forest))
        first = counts.cumsum(0) - counts
        place = torch.arange(int(counts.max()))
        self.of_tree = first[:, None] + torch.minimum(place, counts[:, None] - 1)  # the last leaf again where a tree has fewer

    def end(self, tuples: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest points (k, features) of the boxes of tuples, and their distances (k,): inf where the tuple does not win."""
        lo, hi = self.leaves.lo[tuples].amax(1), self.leaves.hi[tuples].amin(1)
        point, distance = self.reach.to(lo[None], hi[None])
        wins = lead(self.reach.wins, self.forest.of(tuples)) > self.forest.slack
        return point[0], distance[0].masked_fill(~wins, INF)

    def distance(self, tuples: Tensor) -> Tensor:
        """How far the boxes of tuples are, (k,), whoever wins there."""
        lo, hi = self.leaves.lo[tuples].amax(1), self.leaves.hi[tuples].amin(1)
        return self.reach.to(lo[None], hi[None])[1][0]

    def descended(self, tuples: Tensor, steps: int) -> Tensor:
        """The tuples after as many steps to the nearest neighbour that wins; rows whose tuple does not win stay."""

        def far(distance: Tensor, ahead: Tensor, pairs: Tensor) -> Tensor:
            return distance.masked_fill(ahead <= self.forest.slack, INF)

        point, at = self.end(tuples)
        for _ in range(steps):
            row, tree = (self._holding(tuples, point) & torch.isfinite(at)[:, None]).nonzero(as_tuple=True)
            leaf, least = self._best(tuples, row, tree, far)
            best = at.scatter_reduce(0, row, least, "amin")
            chosen = _first_of_row(row, ((least == best[row]) & (least < at[row])).nonzero()[:, 0])
            if not len(chosen):
                break
            tuples = tuples.index_put((row[chosen], tree[chosen]), leaf[chosen])
            point, at = self.end(tuples)
        return tuples

    def climbed(self, steps: int) -> Tensor:
        """From the tuples of the clean rows, the leaf that raises the lead most for its distance, until it wins or nothing raises it."""
        tuples = self.forest.apply(self.reach.x0.flatten(1))
        at = torch.zeros(len(tuples), dtype=torch.float64)
        for _ in range(steps):
            now = lead(self.reach.wins, self.forest.of(tuples))
            row, tree = (now <= self.forest.slack)[:, None].expand_as(tuples).nonzero(as_tuple=True)

            leaf, cost = self._best(tuples, row, tree, self._dear(now[row], at[row]))
            best = torch.full_like(at, INF).scatter_reduce(0, row, cost, "amin")
            chosen = _first_of_row(row, ((cost == best[row]) & torch.isfinite(cost)).nonzero()[:, 0])
            if not len(chosen):
                break
            tuples = tuples.index_put((row[chosen], tree[chosen]), leaf[chosen])
            at = self.distance(tuples)
        return tuples

    def _dear(self, now: Tensor, at: Tensor) -> Cost:
        """Minus what a leaf raises the lead, as far as that is wanted, for the distance that it adds, for pairs with leads and distances (p,)."""

        def dear(distance: Tensor, ahead: Tensor, pairs: Tensor) -> Tensor:
            gain = ahead.clamp_max(2 * self.forest.slack) - now[pairs]
            worth = gain / (distance - at[pairs]).clamp_min(1e-9)
            return torch.where(torch.isfinite(distance) & (gain > 0), -worth, INF)

        return dear

    def _holding(self, tuples: Tensor, point: Tensor) -> Tensor:
        """Which trees hold the nearest points (k, features) away from the clean rows: bool (k, trees)."""
        clean = self.reach.x0.flatten(1).double()[:, None]
        apart = (self.leaves.lo[tuples] > clean) | (self.leaves.hi[tuples] < clean)
        return (apart & (point.double()[:, None] != clean)).any(2)

    def _best(self, tuples: Tensor, row: Tensor, tree: Tensor, cost: Cost) -> tuple[Tensor, Tensor]:
        """For pairs (p,) of a row and a tree, the leaf of that tree that costs least beside the rest of the row's tuple, and its cost."""
        lo, hi = self._without(self.leaves.lo, tuples, row, tree), -self._without(-self.leaves.hi, tuples, row, tree)
        leaf, least = torch.zeros_like(row), torch.full((len(row),), INF, dtype=torch.float64)
        size = max(BLOCK // (self.of_tree.shape[1] * self.forest.features), 1)
        for pairs in torch.arange(len(row)).split(size):
            place, reach, mine = self.of_tree[tree[pairs]].T, self.reach.some(row[pairs]), tuples[row[pairs]]
            _, distance = reach.to(torch.maximum(lo[pairs], self.leaves.lo[place]), torch.minimum(hi[pairs], self.leaves.hi[place]))
            rest = self.forest.of(mine) - self.leaves.value[mine.gather(1, tree[pairs][:, None])[:, 0]]
            ahead = lead(reach.wins, rest + self.leaves.value[place])
            least[pairs], chosen = cost(distance, ahead, pairs).min(0)
            leaf[pairs] = place.gather(0, chosen[None])[0]
        return leaf, least

    def _without(self, ends: Tensor, tuples: Tensor, row: Tensor, tree: Tensor) -> Tensor:
        """The largest ends (p, features) of the tuple of a row without one of its trees."""
        own = ends[tuples]
        if own.shape[1] == 1:
            return torch.full((len(row), ends.shape[1]), -INF, dtype=ends.dtype)
        top = own.topk(2, dim=1)
        return torch.where(top.indices[row, 0] == tree[:, None], top.values[row, 1], top.values[row, 0])
