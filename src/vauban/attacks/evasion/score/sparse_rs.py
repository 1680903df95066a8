"""Sparse-RS: random search over which few features or pixels change, and to which end of their range."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from vauban.attacks.parts.halvings import Schedule
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Share, attack
from vauban.doors import Oracle
from vauban.threat import INF, Access

MARKS = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
DIVISORS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)
"""By what the share of exchanged features is divided once iteration 0, 50, ... of 10,000 is passed."""


@attack(Access.SCORE, on=("l0", "pixels"), paper="Croce et al. 2022, arXiv:2006.12834, algorithm 1 and section 4")
def sparse_rs(
    o: Oracle, queries: Count = 5000, alpha_init: Share = 0.3, loss: LossName = "margin", schedule: Schedule = "rescaled"
) -> None:
    """Exchanges some of the changed features for others, at random ends of their range, and keeps what raises the objective.

    It starts from as many random features as the radius allows. `alpha_init` is the share of them exchanged at first; "rescaled" lets it fall over
    `queries` as the published schedule does over 10,000. Where the threat counts pixels, these are exchanged, and every channel of one goes to
    a random end of its range, as in the paper; otherwise each feature counts. What is drawn equal to the clean values is turned round, so that
    all that is taken is changed.
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
    """The parts of each row (features, or pixels with all their channels) in an order of its own, whose first `taken` are changed, and one
    exchange of some of them for others.

    The others of an exchange follow each other in the order, from a random place on: the order is random, and exchanges keep mixing it.
    """

    def __init__(self, o: Oracle) -> None:
        self.o, self.whole = o, o.threat.perturbation.kind == "pixels"
        free = self._changeable
        self.taken, self.rest = min(int(o.eps), len(free)), len(free) - min(int(o.eps), len(free))
        lower, upper = (self._parts(t) for t in o.limits)
        order = free[o.noise.uniform(len(free)).argsort(1)]
        self.s = o.rows(order=order, x=self._parts(o.x), clean=self._parts(o.x), lower=lower, upper=upper)
        if self.taken:
            place = order[:, : self.taken]
            self.s.x = self._put(self.s.x, place, self._ends(place, self._signs(self.taken), self._at(self.s.clean, place)))
        self.moved = o.rows()

    def _parts(self, x: Tensor) -> Tensor:
        """Inputs (n, *shape) as parts with their channels, (n, parts, channels); a feature is its own only one."""
        return x.flatten(2).transpose(1, 2).contiguous() if self.whole else x.flatten(1)[..., None]

    @property
    def _changeable(self) -> Tensor:
        """The parts that may change, int64."""
        free = torch.ones_like(self.o.x[:1], dtype=torch.bool) if self.o.ball.mask is None else self.o.ball.mask[None]
        return self._parts(free)[0].any(-1).nonzero()[:, 0]

    @property
    def point(self) -> Tensor:
        """What is to be asked, (n, *shape)."""
        return (self.s.x.transpose(1, 2) if self.whole else self.s.x).reshape(self.o.x.shape)

    def propose(self, count: int) -> None:
        """Exchange `count` parts of each row for others; where there are no others, they go to other ends."""
        s, noise = self.s, self.o.noise
        gone = noise.uniform(self.taken).topk(count, dim=1).indices
        many = min(count, self.rest)
        came = (noise.integers(max(self.rest, 1), 1) + torch.arange(many, device=gone.device)) % max(self.rest, 1) + self.taken
        sign = self._signs(count)
        before, old = s.order, s.x
        if many:
            gone = gone[:, :many]
            out, put = before.gather(1, gone), before.gather(1, came)
            s.order = before.scatter(1, gone, put).scatter(1, came, out)
            new = self._ends(put, sign[:, :many], self._at(s.clean, put))
            s.x = self._put(self._put(old, out, self._at(s.clean, out)), put, new)
        else:
            place = before.gather(1, gone)
            s.x = self._put(old, place, self._ends(place, sign, self._at(old, place)))
        self.moved = self.o.rows(order=before, x=old)

    def keep(self, better: Tensor) -> None:
        """Keep the exchanges of these rows, bool (n,), and take the others back."""
        s = self.s
        s.order, s.x = pick(better, s.order, self.moved.order), pick(better, s.x, self.moved.x)

    def _signs(self, count: int) -> Tensor:
        return self.o.noise.sign(count, self.s.clean.shape[2])

    @staticmethod
    def _at(parts: Tensor, place: Tensor) -> Tensor:
        """Some parts (n, k, channels) of each row."""
        return parts.gather(1, place[..., None].expand(-1, -1, parts.shape[2]))

    @staticmethod
    def _put(parts: Tensor, place: Tensor, new: Tensor) -> Tensor:
        return parts.scatter(1, place[..., None].expand_as(new), new)

    def _ends(self, place: Tensor, sign: Tensor, now: Tensor) -> Tensor:
        """The ends of the range of parts (n, k) that signs name, or the other ones where they would be as they are `now`."""
        lower, upper = self._at(self.s.lower, place), self._at(self.s.upper, place)
        end = torch.where(sign > 0, upper, lower)
        return torch.where((end == now).all(-1, keepdim=True), torch.where(end == upper, lower, upper), end)
