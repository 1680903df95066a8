"""Constrained Auto-PGD: gradient ascent for rows of a table, which keeps relations between features as it goes."""

import torch
from torch import Tensor

from vauban.attacks.parts.checkpoints import checkpoints, remember, stalled, start_ascent
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.tables import table_of
from vauban.attacks.registry import Count, Natural, attack
from vauban.doors import Loss, Oracle
from vauban.geometry.features import Tabular
from vauban.threat import Access

MOMENTUM = 0.75
"""Weight of the gradient step; the rest is that of the step before."""


@attack(Access.GRADIENT, on=("features",), paper="Simonetto et al. 2024, arXiv:2406.00775, section 4 (CAPGD)")
def capgd(o: Oracle, steps: Count = 10, restarts: Count = 5, loss: LossName = "cross-entropy", weight: Natural = 1.0) -> None:
    """Auto-PGD on the loss minus `weight` times the violation of relations, repaired at every step: types, one-hot groups, defined features.

    The question of each step is about the repaired row, so that any of them may win; gradients pass the rounding as if it were none, and reach
    the features that a relation defines through those it defines them by. The first run begins at the clean row, the others at random rows.
    The source shrinks the radius a little for what repair adds; here repair itself takes back a share of a change that it cannot make valid.
    """
    body = table_of(o)
    for run in o.restarts(restarts):
        _climb(o, body, LOSSES[loss], steps, o.x if run == 0 else _random_row(o), weight)


def _random_row(o: Oracle) -> Tensor:
    lower, upper = o.limits
    return o.project(lower + (upper - lower) * o.noise.uniform(*o.x.shape[1:]).to(o.x))


def _climb(o: Oracle, body: Tabular, loss: Loss, steps: int, x: Tensor, weight: float) -> None:
    """One run of Auto-PGD over rows that need not be whole or valid; what is asked about is their repair."""
    n = len(x)
    s = o.rows(
        x=x, before=x, eta=x.new_full((n,), 2 * o.eps), mark=x.new_zeros(n), halved=torch.zeros(n, dtype=torch.bool, device=x.device),
        **start_ascent(x),
    )  # fmt: skip
    looks = checkpoints(steps)
    for k in o.steps(steps + 1):
        value, gradient = _asked(o, body, s.x, loss, weight)
        remember(s, value, gradient)
        if k == 0:
            s.mark = s.top
        if k in looks:
            s.halved = stalled(s, looks[k])
            s.eta = torch.where(s.halved, s.eta / 2, s.eta)
            s.mark, s.rises = s.top, torch.zeros_like(s.rises)
            s.x, gradient = pick(s.halved, s.best, s.x), pick(s.halved, s.slope, gradient)
        z = o.project(s.x + o.steepest(gradient, s.x, s.eta))
        rest = 1 - MOMENTUM if k else 0.0
        s.x, s.before = o.project(s.x + (1 - rest) * (z - s.x) + rest * (s.x - s.before)), s.x


def _asked(o: Oracle, body: Tabular, x: Tensor, loss: Loss, weight: float) -> tuple[Tensor, Tensor]:
    """The objective at the repair of x, (n,), and its gradient in x."""
    row = body.repair(o.x, x, o.limits)
    value, gradient = o.ascend(row, loss)
    short, slope = body.penalty(row)
    return value - weight * short, body.pulled(row, gradient - weight * slope)
