"""Which rows are proven robust, by what margin, and up to what radius."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vauban.bounds.alpha import optimised
from vauban.bounds.limits import LEVELS, Level, limits_of, portion, rows_at_once
from vauban.bounds.linear import lowest
from vauban.bounds.network import Network, network_of
from vauban.bounds.region import INF, Region
from vauban.errors import BadData, BadPlan, Unsupported, nearest
from vauban.geometry import Body, body_of
from vauban.target import Target
from vauban.threat import Ball


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is proven of some rows.

    Attributes:
        margin: float64 (n,): over the whole ball, the true class beats every class that would be a success by at least this much. Rows are
            not bounded further than the first level that proves them, nor beyond intervals where the clean row is wrong already.
        certified: bool (n,): nothing in the ball is a success; the margin is positive.
    """

    margin: Tensor
    certified: Tensor


def certify(target: Target, x: Tensor, y: Tensor, ball: Ball, *, level: Level = "crown", wins: Tensor | None = None) -> Certificate:
    """Prove that nothing in the ball around each row is answered with a class that wins.

    Args:
        target: a PyTorch module (`vauban.target.Torch`) of operators that bounds know.
        x: float (n, *shape), clean rows inside the ball's box.
        y: int64 (n,), true classes.
        ball: Lp ball, box and mask; a box without a ball where eps is inf.
        level: "interval" (Gowal et al. 2018, arXiv:1810.12715), "crown" (Zhang et al. 2018, arXiv:1811.00866) or "alpha" (Xu et al. 2021,
            arXiv:2011.13824): each at least as tight as the one before, and dearer.
        wins: bool (n, classes), the classes whose being answered is a success; by default all but the true one. (A reject column that is
            no success is left out.)

    Returns:
        Margins of the deployed model's own arithmetic: what rounding can do is subtracted (see `vauban.bounds.interval`).

    Raises:
        Unsupported: the model has an operator that bounds do not know.
        BadData: rows outside the box, labels or `wins` of another shape.
        BadTarget: the model does not compute what its operators say.

    >>> from torch import nn
    >>> from vauban.target import Torch
    >>> model = nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), model.bias.data.zero_()
    >>> found = certify(Torch(model, outputs="logits"), torch.tensor([[0.9, 0.1]]), torch.tensor([0]), Ball(0.3))
    >>> found.certified.tolist(), round(float(found.margin), 4)
    ([True], 0.2)
    """
    network = network_of(target, x)
    case = _case(network, x, y, ball, level, wins)
    return case.certificate(torch.full((len(x),), ball.eps, dtype=torch.float64, device=network.device))


def certified_radius(
    target: Target, x: Tensor, y: Tensor, ball: Ball, *, level: Level = "crown", wins: Tensor | None = None, steps: int = 12
) -> Tensor:
    """For each row, a radius up to that of the ball within which it is certified: float64 (n,), 0 where there is none.

    Found by bisection, to within 2^-`steps` of the ball's radius (of the box's diameter, where the ball has none). The arguments and errors
    are those of `certify`.
    """
    if steps < 1:
        raise BadPlan(f"steps = {steps} must be at least 1")
    network = network_of(target, x)
    case = _case(network, x, y, ball, level, wins)
    most = torch.full((len(x),), min(ball.eps, case.diameter), dtype=torch.float64, device=network.device)
    safe = torch.where(case.certificate(most).certified, most, 0.0)
    unsafe = most
    for _ in range(steps):
        tried = (safe + unsafe) / 2
        open_ = safe < unsafe
        found = torch.zeros_like(open_)
        found[open_] = case.take(open_).certificate(tried[open_]).certified
        safe, unsafe = torch.where(found, tried, safe), torch.where(open_ & ~found, tried, unsafe)
    return safe


@dataclass(frozen=True, eq=False)
class Case:
    """What must be shown of some rows: clean x (n, *shape), true classes y (n,), winning classes (n, classes), and up to which level."""

    network: Network
    body: Body
    x: Tensor
    y: Tensor
    wins: Tensor
    level: Level

    def take(self, rows: Tensor) -> Case:
        """Some rows."""
        return replace(self, x=self.x[rows], y=self.y[rows], wins=self.wins[rows])

    @property
    def diameter(self) -> float:
        """How far apart two inputs can be that are in the box and differ from a row where they may."""
        low, high = Body.limits(self.body, self.x)
        return float(self.body.distance(low, high).max()) if len(self.x) else 0.0

    def certificate(self, eps: Tensor) -> Certificate:
        """The certificate at a radius for each row, eps (n,)."""
        margin = torch.full((len(self.x),), -INF, dtype=torch.float64, device=self.x.device)
        rows = torch.arange(len(self.x), device=self.x.device)
        with torch.no_grad():
            clean = self._clean_margins()
            for level in LEVELS[: LEVELS.index(self.level) + 1]:
                # rows that are proven need no more, and rows that are wrong as they are can never be
                todo = rows[(margin <= 0) & (clean > 0)] if level != "interval" else rows
                for some in todo.split(rows_at_once(self.network.ops, self.x, level)) if len(todo) else ():
                    region = Region.of(self.body, self.x[some], eps[some])
                    found = self.take(some)._bounded(region, level) - self.network.resolution
                    margin[some] = torch.maximum(margin[some], found.masked_fill(found.isnan(), -INF))
        return Certificate(margin, margin > 0)

    def _clean_margins(self) -> Tensor:
        """The least margin over the winning classes of the clean rows, (n,)."""
        size = rows_at_once(self.network.ops, self.x, "interval")
        z = torch.cat([self.network(some) for some in self.x.split(size)])
        return (z.gather(1, self.y[:, None]) - z).masked_fill(~self.wins, INF).amin(1)

    def _bounded(self, region: Region, level: Level) -> Tensor:
        """A lower bound of the margin, (n,): the least over winning classes j of z_y - z_j, each bounded as one linear function."""
        ops, place = self.network.ops, len(self.network.ops)
        known = limits_of(ops, region, self.network.rounding, level)
        rivals = self.wins.int().argsort(dim=1, descending=True, stable=True)[:, : max(int(self.wins.sum(1).max()), 1)]
        columns = torch.arange(self.wins.shape[1], device=self.x.device)
        least = region.eps.new_full((len(region.x),), INF)
        widest = max(limits.lo.numel() for limits in known)
        for some in rivals.T.split(portion(widest)):
            a = (columns == self.y[:, None]).double() - (columns == some[:, :, None]).double()
            found = lowest(ops, known, region, place, a, through=False)
            if level != "interval":
                found = torch.maximum(found, (optimised if level == "alpha" else lowest)(ops, known, region, place, a))
            relevant = self.wins.T.gather(0, some)
            least = torch.minimum(least, torch.where(relevant, found, INF).amin(0))
        return least


def _case(network: Network, x: Tensor, y: Tensor, ball: Ball, level: Level, wins: Tensor | None) -> Case:
    """The arguments of `certify`, checked, where the network lies."""
    if level not in LEVELS:
        raise BadPlan(f"level = {level!r} is not a way to bound; {nearest(level, LEVELS)}")
    if ball.pixels:
        raise Unsupported("certify: bounds count features in L0, and this ball counts pixels; give one of features")
    classes = network.classes
    if y.shape != (len(x),) or (len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes):
        raise BadData(f"certify: y must be {len(x)} class numbers from 0 to {classes - 1}, one for each row of x")
    if wins is not None and wins.shape != (len(x), classes):
        raise BadData(f"certify: wins has shape {tuple(wins.shape)}; it must be ({len(x)}, {classes}), one truth value a row and class")
    x, y = x.to(network.device), y.to(network.device)
    others = torch.arange(classes, device=y.device) != y[:, None]
    return Case(network, body_of(ball, x), x, y, others if wins is None else wins.to(y.device), level)
