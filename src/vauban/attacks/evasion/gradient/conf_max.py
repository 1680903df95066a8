"""Confidence in a wrong class, as much as can be had: against thresholds on how sure a model is."""

import torch
from torch import Tensor

from vauban.attacks.parts.memory import unit_mean
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.starts import random_change
from vauban.attacks.parts.targets import ranked_targets
from vauban.attacks.parts.two_goals import without
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Aim, Loss, Oracle
from vauban.geometry import per_row
from vauban.threat import INF, Access

SHRINK = 1.5


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper="Stutz et al. 2020, arXiv:1910.06259, section 4 and algorithm 2")
def conf_max(o: Oracle, steps: Count = 200, restarts: Count = 4, step: Positive = 0.5, momentum: Share = 0.9) -> None:
    """Raises the log-odds of the likeliest wrong class, with momentum, going back and shortening the step whenever they fall.

    Rejection is no class. The first restart begins at the clean input and follows whichever class leads; the others begin at random points of
    random size and follow the likeliest wrong classes of the clean input in turn. `step` is a share of the radius.
    """
    s = o.rows(ranked=ranked_targets(o, restarts))
    count = s.ranked.shape[1]
    for i in o.restarts(restarts):
        start = o.x if i == 0 else o.project(o.x + per_row(o.noise.uniform(1)[:, 0].to(o.x), o.x) * random_change(o, o.eps))
        target = torch.full_like(s.ranked[:, 0], -1) if i == 0 else s.ranked[:, (i - 1) % count]
        _climb(o, start, target, steps, step * o.eps, momentum)


def _climb(o: Oracle, start: Tensor, target: Tensor, steps: int, step: float, momentum: float) -> None:
    n = len(start)
    s = o.rows(
        x=start, tried=start, slope=torch.zeros_like(start), memory=torch.zeros_like(start),
        top=start.new_full((n,), -INF), size=start.new_full((n,), step), target=target,
    )  # fmt: skip
    for _ in o.steps(steps):
        value, gradient = o.ascend(s.tried, sureness_of(s.target))
        better = value > s.top
        s.x, s.slope, s.top = pick(better, s.tried, s.x), pick(better, gradient, s.slope), torch.where(better, value, s.top)
        s.size = torch.where(better, s.size, s.size / SHRINK)
        # after a fall the way on begins at the best point, with what its own slope says
        s.memory = pick(better, momentum * s.memory + (1 - momentum) * unit_mean(s.slope), unit_mean(s.slope))
        s.tried = o.project(s.x + o.steepest(s.memory, s.x, s.size))
    o.submit(s.tried)


def sureness_of(target: Tensor) -> Loss:
    """The log-odds of a class a row, int64 (rows,), in the softmax over all that are answers; where it is -1, of the likeliest that wins."""

    def log_odds(aim: Aim, z: Tensor) -> Tensor:
        answers, wanted = without(z, aim.reject), aim.of(target)
        best = answers.masked_fill(aim.loses, -INF).argmax(1)
        column = torch.where(wanted < 0, best, wanted)[:, None]
        return z.gather(1, column)[:, 0] - answers.scatter(1, column, -INF).logsumexp(1)

    return log_odds
