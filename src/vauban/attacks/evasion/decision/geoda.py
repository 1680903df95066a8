"""GeoDA: from the clean input along the estimated normal of the boundary, in L1, L2 and L-infinity."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.first_success import first_success
from vauban.attacks.parts.hops import Hops, Rules, fine
from vauban.attacks.parts.plane import onto_plane
from vauban.attacks.parts.subspace import Directions, Subspace
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Oracle, Rows
from vauban.threat import Access

FARTHER, TIMES = 1.5, 8
"""Beyond the plane, a row goes so much farther, so often, until something fools."""


@attack(Access.LABEL, on=("l2", "linf", "l1"), minimal=True, paper="Rahmati et al. 2020, arXiv:2003.06468, algorithm 1")
def geoda(
    o: Oracle,
    estimates: Count = 12,
    probes: Count = 30,
    reduction: Share = 0.6,
    theta: Positive = 3e-3,
    directions: Directions | None = None,
    coarser: Positive = 2,
    starts: Count = 100,
) -> None:
    """Takes the boundary for a plane with the estimated normal, goes from the clean input the shortest way to it, and on until something fools.

    Estimate k takes `probes` reduction^(-2 k / 3) questions, the published split of a budget. Probes are drawn from a subspace with `coarser`
    times fewer coefficients along each side of an image (by default low frequencies; in L1, where single features count, the whole space), and
    go as far as the search for the boundary, which ends at `theta`, is coarse.
    """
    space = Subspace.of(directions or ("full" if o.ball.p == 1 else "dct"), o.x, coarser)
    start = first_success(o, starts)

    def over_the_plane(s: Rows) -> Tensor:
        flat, normal = o.x.flatten(1), s.normal.flatten(1)
        lack = (normal * (s.x - o.x).flatten(1)).sum(1) * s.size
        lower, upper = o.limits
        return o.x + onto_plane(flat, normal, lack, (lower.flatten(1), upper.flatten(1)), o.ball.p).view_as(o.x)

    rules = Rules(
        probes=lambda s: probes * reduction ** (-2 / 3 * (s.t - 1).to(o.x)),
        delta=lambda s: fine(o, s, theta),
        size=lambda s: torch.ones_like(s.size),
        jump=over_the_plane,
        again=FARTHER,
        tries=TIMES,
    )
    Hops(o, start, theta, space, rules).run(estimates)
