"""The elastic-net attack."""

from torch import Tensor

from vauban.attacks.parts.constant import next_turn, start_search
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Natural, Positive, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import per_row
from vauban.threat import Access


@attack(Access.GRADIENT, on=("l1", "l2"), minimal=True, paper="Chen et al. 2018, arXiv:1709.04114, algorithm 1")
def ead(
    o: Oracle,
    steps: Count = 1000,
    searches: Count = 9,
    rate: Positive = 0.01,
    constant: Positive = 0.001,
    beta: Positive = 0.01,
    kappa: Natural = 0.0,
) -> None:
    """Shrinkage-thresholding steps (FISTA) on the elastic net of the change plus a constant times the missing margin; the constant by search."""

    def short_of(aim: Aim, z: Tensor) -> Tensor:
        return (aim.margin(z) - kappa).clamp_max(0)

    s = o.rows(x=o.x, slack=o.x)
    q = start_search(o, constant)
    for _ in o.steps(steps * searches):
        value, gradient, fooled = o.explore(s.slack, short_of)
        length = rate * (1 - q.turn / steps).clamp_min(0).sqrt()
        down = 2 * (s.slack - o.x) - per_row(q.c, s.x) * gradient
        new = _shrunk(o, s.slack - per_row(length, down) * down, beta)
        pull = per_row(q.turn / (q.turn + 3.0), new)
        won = o.fooled(new) | (fooled & (value >= 0))
        change = (new - o.x).flatten(1)
        objective = change.square().sum(1) + beta * change.abs().sum(1) - q.c * value
        s.slack, s.x = new + pull * (new - s.x), new
        again = next_turn(o, q, won, objective, steps, searches)
        if bool(again.any()):
            s.x, s.slack = pick(again, o.x, s.x), pick(again, o.x, s.slack)


def _shrunk(o: Oracle, z: Tensor, beta: float) -> Tensor:
    """Equation 5: changes smaller than beta are undone, others shrink by it, all inside the box."""
    d = z - o.x
    return (o.x + d.sign() * (d.abs() - beta).clamp_min(0)).clamp(*o.limits)
