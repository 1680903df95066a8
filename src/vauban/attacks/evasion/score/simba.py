"""SimBA: one vector of an orthonormal basis after the other, each added or taken away."""

from __future__ import annotations

import torch

from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.both_ways import BothWays
from vauban.attacks.parts.cosines import Basis, BasisName
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.registry import Count, Positive, Share, attack, preset
from vauban.doors import Oracle
from vauban.threat import Access


@attack(Access.SCORE, on=("l2",), paper="Guo et al. 2019, arXiv:1905.07121, algorithm 1")
def simba(
    o: Oracle,
    queries: Count = 5000,
    step: Positive = 0.1,
    basis: BasisName = "pixel",
    frequencies: Share = 0.5,
    loss: LossName = "margin",
) -> None:
    """Tries the vectors of a basis in a random order, forwards and then backwards, and keeps what raises the objective.

    `step`, the change along one vector, is a share of the radius; after T of them the change is at most step * sqrt(T) long, since the vectors
    are orthogonal. With the basis "dct", `frequencies` is the share of them, lowest first, that is used in each direction of an image. What
    changes nothing (a black pixel made darker) is not asked.
    """
    purse, vectors = Allowance(o, queries), Basis.of(o, basis, frequencies)
    walk = BothWays(o, o.x, o.score(o.x, LOSSES[loss], purse.one()))
    s = o.rows(order=o.noise.uniform(vectors.count).argsort(1), at=torch.zeros(len(o), dtype=torch.int64, device=o.x.device))
    for _ in purse.turns():
        fresh = walk.fresh
        over = fresh & (s.at == vectors.count)
        if bool(over.any()):
            s.order = torch.where(over[:, None], o.noise.uniform(vectors.count, where=over).argsort(1), s.order)
            s.at = s.at.masked_fill(over, 0)
        number = s.order.gather(1, s.at.clamp_max(vectors.count - 1)[:, None])[:, 0]
        walk.aim(step * o.eps * vectors.vectors(number).to(o.x))
        s.at = s.at + fresh
        point, moves = walk.propose()
        walk.told(o.score(point, LOSSES[loss], purse.one(moves)))


simba_dct = preset(
    "simba-dct",
    "SimBA along low-frequency waves of the discrete cosine transform.",
    simba,
    paper="Guo et al. 2019, arXiv:1905.07121, section 3.2",
    basis="dct",
)
