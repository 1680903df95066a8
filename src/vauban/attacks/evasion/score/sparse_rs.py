"""Sparse-RS: random search over which few features change, and to which end of their range."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from vauban.attacks.parts.halvings import Schedule
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.registry import Count, Share, attack
from vauban.doors import Oracle
from vauban.threat import INF, Access

MARKS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
"""By what the share of exchanged features is divided once iteration 0, 50, ... of 10,000 is passed."""


@attack(Access.SCORE, on=("l0",), paper="Croce et al. 2022, arXiv:2006.12834, algorithm 1 and section 4")
def sparse_rs(
    o: Oracle, queries: Count = 5000, alpha_init: Share = 0.3, loss: LossName = "margin", schedule: Schedule = "rescaled"
) -> None:
    """Exchanges some of the changed features for others, at random ends of their range, and keeps what raises the objective.

    It starts from as many random features as the radius allows. `alpha_init` is the share of them exchanged at first; "rescaled" lets it fall over
    `queries` as the published schedule does over 10,000. A radius counts features: in a colour image each channel of a pixel is one. A value
    drawn equal to the clean one is turned round, so that every feature taken is changed.
    """
    pool = _Pool(o)
    if not pool.taken:
        return
    asked = int(min(queries, o.threat.queries))
    best = o.rows(value=o.x.new_full((len(o),), -INF))
    for i in o.steps(queries):
        if i:
            pool.propose(max(int(exchanged(i - 1, asked, alpha_init, schedule) * pool.taken), 1))
        value = o.score(pool.point, LOSSES[loss])
        if i:
            pool.keep(value > best.value)
        best.value = torch.fmax(best.value, value)


def exchanged(iteration: int, queries: int, first: float, schedule: Schedule) -> float:
    """The share of the changed features to exchange in an iteration (0 is the first after the start).

    >>> [round(exchanged(i, 10_000, 0.3, "rescaled"), 3) for i in (0, 1, 51, 9000)]
    [0.3, 0.15, 0.075, 0.015]
    """
    place = iteration if schedule == "published" else iteration * 10_000 // queries
    return first / DIVISORS[bisect_left(MARKS, place)]


class _Pool:
    """The features of each row in an order of its own, whose first `taken` are changed, and one exchange of some of them for others.

    The others of an exchange follow each other in the order, from a random place on: the order is random, and exchanges keep mixing it.
    """

    def __init__(self, o: Oracle) -> None:
        self.o = o
        free = _changeable(o)
        self.taken, self.rest = min(int(o.eps), len(free)), len(free) - min(int(o.eps), len(free))
        lower, upper = (t.flatten(1) for t in o.limits)
        order = free[o.noise.uniform(len(free)).argsort(1)]
        self.s = o.rows(order=order, x=o.x.flatten(1), clean=o.x.flatten(1), lower=lower, upper=upper)
        if self.taken:
            place = order[:, : self.taken]
            self.s.x = self.s.x.scatter(1, place, self._ends(place, o.noise.sign(self.taken)))
        self.moved = o.rows()

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape)."""
        return self.s.x.view_as(self.o.x)

    def propose(self, count: int) -> None:
        """Exchange `count` features of each row for others; where there are no others, they go to the other end."""
        s, noise = self.s, self.o.noise
        gone = noise.uniform(self.taken).topk(count, dim=1).indices
        many = min(count, self.rest)
        came = (noise.integers(max(self.rest, 1), 1) + torch.arange(many, device=gone.device)) % max(self.rest, 1) + self.taken
        sign = noise.sign(count)
        before, old = s.order, s.x
        if many:
            gone = gone[:, :many]
            out, put = before.gather(1, gone), before.gather(1, came)
            s.order = before.scatter(1, gone, put).scatter(1, came, out)
            s.x = old.scatter(1, out, s.clean.gather(1, out)).scatter(1, put, self._ends(put, sign[:, :many]))
        else:
            place = before.gather(1, gone)
            s.x = old.scatter(1, place, self._other_end(place, old.gather(1, place)))
        self.moved = self.o.rows(order=before, x=old)

    def keep(self, better: Tensor) -> None:
        """Keep the exchanges of these rows, bool (n,), and take the others back."""
        s, yes = self.s, better[:, None]
        s.order, s.x = torch.where(yes, s.order, self.moved.order), torch.where(yes, s.x, self.moved.x)

    def _ends(self, place: Tensor, sign: Tensor) -> Tensor:
        """The ends of the range of features (n, k) that signs name, or the other ones where the clean input is there already."""
        s = self.s
        end = torch.where(sign > 0, s.upper.gather(1, place), s.lower.gather(1, place))
        return torch.where(end == s.clean.gather(1, place), self._other_end(place, end), end)

    def _other_end(self, place: Tensor, now: Tensor) -> Tensor:
        lower, upper = self.s.lower.gather(1, place), self.s.upper.gather(1, place)
        return torch.where(now == upper, lower, upper)


def _changeable(o: Oracle) -> Tensor:
    """The features that may change, int64."""
    free = torch.ones_like(o.x[0], dtype=torch.bool) if o.ball.mask is None else o.ball.mask
    return free.flatten().nonzero()[:, 0]
