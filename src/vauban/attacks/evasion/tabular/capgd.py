"""Constrained Auto-PGD: gradient ascent for rows of a table, which keeps relations between features as it goes."""

from torch import Tensor

from vauban.attacks.parts.auto_pgd import climb
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.tables import table_of
from vauban.attacks.registry import Count, Natural, attack
from vauban.doors import Loss, Oracle
from vauban.geometry.features import Tabular
from vauban.threat import Access


@attack(Access.GRADIENT, on=("features",), paper="Simonetto et al. 2024, arXiv:2406.00775, section 4 (CAPGD)")
def capgd(o: Oracle, steps: Count = 10, restarts: Count = 5, loss: LossName = "cross-entropy", weight: Natural = 1.0) -> None:
    """Auto-PGD on the loss minus `weight` times the violation of relations, repaired at every step: types, one-hot groups, defined features.

    The question of each step is about the repaired row, so that any of them may win; gradients pass the rounding as if it were none, and reach
    the features that a relation defines through those it defines them by. The first run begins at the clean row, the others at random rows.
    The source shrinks the radius a little for what repair adds; here repair itself takes back a share of a change that it cannot make valid.
    """
    body = table_of(o)
    for run in o.restarts(restarts):
        best = climb(o, lambda x: _asked(o, body, x, LOSSES[loss], weight), steps, o.x if run == 0 else _random_row(o))
        o.hand_in(body.repair(o.x, best, o.limits))


def _random_row(o: Oracle) -> Tensor:
    lower, upper = o.limits
    return o.project(lower + (upper - lower) * o.noise.uniform(*o.x.shape[1:]).to(o.x))


def _asked(o: Oracle, body: Tabular, x: Tensor, loss: Loss, weight: float) -> tuple[Tensor, Tensor]:
    """The objective at the repair of x, (n,), and its gradient in x."""
    row = body.repair(o.x, x, o.limits)
    value, gradient = o.ascend(row, loss)
    short, slope = body.penalty(row)
    return value - weight * short, body.pulled(row, gradient - weight * slope)
