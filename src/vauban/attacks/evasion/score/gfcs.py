"""GFCS: the gradients of surrogates, each tried forwards and backwards; and where they fail, random ones in their coverage of the output."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.allowance import Allowance
from vauban.attacks.parts.both_ways import BothWays
from vauban.attacks.parts.priors import diverse, members, slope_of
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.geometry import per_row
from vauban.threat import INF, Access


@attack(Access.SCORE, on=("linf", "l2"), paper="Lord et al. 2022, arXiv:2110.04745, algorithm 1", prior=True)
def gfcs(o: Oracle, queries: Count = 1000, step: Positive = 0.2) -> None:
    """Gradient first, coverage second: the margin's gradient of each surrogate once, then output-diversified directions until one helps.

    At most two questions an iteration. `step` is a share of the radius. The surrogates are the members of a mean of surrogates, or the one there
    is. The margin is between the classes that the target last ranked first, not those of the surrogate.
    """
    _search(o, queries, step, gradients=True)


@attack(Access.SCORE, on=("linf", "l2"), paper="Tashiro et al. 2020, arXiv:2003.06878, algorithm 3", prior=True)
def simba_ods(o: Oracle, queries: Count = 1000, step: Positive = 0.2) -> None:
    """SimBA along output-diversified directions of surrogates, forwards and then backwards. `step` is a share of the radius."""
    _search(o, queries, step, gradients=False)


def _search(o: Oracle, queries: int, step: float, *, gradients: bool) -> None:
    purse, among = Allowance(o, queries), members(o.surrogate)
    z = o.logits(o.x, purse.one())
    walk = BothWays(o, o.x, torch.where(o.answered, o.aim.margin(z), -INF))
    s = o.rows(z=z, unused=torch.full((len(o), len(among)), gradients, device=o.x.device))
    for _ in purse.turns():
        fresh = walk.fresh
        lot = o.noise.uniform(len(among), where=fresh)
        first, who = s.unused.any(1), torch.where(s.unused | ~s.unused.any(1, keepdim=True), lot, -1.0).argmax(1)
        weights = torch.where(per_row(first, s.z), _lead(o, s.z), diverse(o, fresh))
        if bool(fresh.any()):
            slope = slope_of(o, walk.s.x, weights, who, among, fresh)
            walk.aim(o.steepest(slope, walk.s.x, step * o.eps))
        s.unused = s.unused & ~(fresh[:, None] & torch.nn.functional.one_hot(who, len(among)).bool())
        point, moves = walk.propose()
        z = o.logits(point, purse.one(moves))
        won = walk.told(torch.where(o.answered, o.aim.margin(z), -INF))
        s.z = torch.where(won[:, None], z, s.z)
        s.unused = s.unused | (won[:, None] & gradients)


def _lead(o: Oracle, z: Tensor) -> Tensor:
    """Weights that make the margin of the classes that scores (n, classes) rank first: 1 for the best winner, -1 for the best loser."""
    ahead, behind = (torch.nn.functional.one_hot(c, z.shape[1]) for c in (o.aim.best_winner(z), o.aim.best_loser(z)))
    return (ahead - behind).to(z)
