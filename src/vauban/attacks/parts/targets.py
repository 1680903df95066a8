"""Which wrong classes to head for, and objectives that head for one of them on each row."""

from __future__ import annotations

from torch import Tensor

from vauban.attacks.parts.losses import over_spread
from vauban.doors import Aim, Loss, Oracle
from vauban.threat import INF


def ranked_targets(o: Oracle, most: int) -> Tensor:
    """The winning classes of each live row by their scores at the clean input, likeliest first: int64 (n, k), k at most `most`.

    Costs one question a row. Where the goal names one class, that is the only target.
    """
    z = o.look(o.x).masked_fill(o.aim.loses, -INF)
    k = min(most, int(o.aim.wins.sum(1).amin()))
    return z.topk(k, dim=1).indices


def towards(target: Tensor) -> Loss:
    """The lead of one class a row, int64 (rows,), over the best losing one: z_t - z_y where any wrong answer wins (Gowal et al. 2019)."""

    def lead(aim: Aim, z: Tensor) -> Tensor:
        return _score(z, aim.of(target)) - _loser(aim, z)

    return lead


def dlr_towards(target: Tensor) -> Loss:
    """`towards`, over z(1) - (z(3) + z(4)) / 2: invariant to shift and scale (Croce and Hein 2020, arXiv:2003.01690, equation 7).

    With three classes the divisor is z(1) - (z(2) + z(3)) / 2, since z(1) - z(3) would leave a target that ranks third no gradient; with two
    nothing is left to scale by, and it is the lead itself.
    """

    def ratio(aim: Aim, z: Tensor) -> Tensor:
        if z.shape[1] == 2:
            return towards(target)(aim, z)
        return over_spread(z, aim.of(target), aim.best_loser(z.detach()) if aim.wanted else aim.y)

    return ratio


def _score(z: Tensor, column: Tensor) -> Tensor:
    return z.gather(1, column[:, None])[:, 0]


def _loser(aim: Aim, z: Tensor) -> Tensor:
    return z.masked_fill(aim.wins, -INF).amax(1) if aim.wanted else _score(z, aim.y)
