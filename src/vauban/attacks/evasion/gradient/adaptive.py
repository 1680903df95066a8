"""Margin ascent on every row, then ever more diverse restarts on the rows it came near to."""

from dataclasses import dataclass

import torch

from vauban.attacks.parts.hope import lacking
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import diverse_start, random_start
from vauban.attacks.parts.targets import towards
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Aim, Loss, Oracle, Rows
from vauban.threat import INF, Access


@dataclass(frozen=True)
class Round:
    """One restart: what is ascended, for how many steps, and on which rows.

    Attributes:
        up: an objective by name, or a rank: the lead of the class that was that far ahead at the clean input.
        steps: of the ascent.
        below: a row takes part when what its margin still lacks is less than this share of what it has gained so far.
    """

    up: LossName | int
    steps: int
    below: float


FIRST = Round("margin", 30, INF)
ROUNDS = (
    Round("cross-entropy", 18, INF),
    Round("probability-margin", 18, 0.7),
    *(Round(up, 18, 0.35) for up in (0, 1, 2)),
    *(Round(up, 18, 0.22) for up in ("margin", "cross-entropy", 3, "probability-margin", 0, 1)),
    *(Round(up, 40, 0.10) for up in (2, "dlr", 0, "cross-entropy", 1, 3, "margin", 4)),
)
"""Tuned on models that are never reported: docs/decisions says on which, and what else was tried."""


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1", "transformations"),
    paper="Liu et al. 2022, arXiv:2203.05154 (discarding, diverse starts); Gowal et al. 2019, arXiv:1910.09338 (targets)",
)
def adaptive(o: Oracle, steps: Positive = 1.0, rounds: Count = 20, patience: Positive = 1.0) -> None:
    """Effort where it pays: two ascents on all rows, then others on the rows that are near enough to hope for: `rounds` after the first.

    How near a row is: what its margin still lacks, as a share of what it gained since the clean input; free of the scale of the scores, and of
    other rows. A row stays while that share is below the round's bound (times `patience`), or while the last round brought it so much
    nearer that as much again in every round left would do. `steps` multiplies the length of all rounds.
    """
    z = o.look(o.x)
    ranked = z.masked_fill(o.aim.loses, -INF).argsort(1, descending=True)[:, : int(o.aim.wins.sum(1).amin())]
    s = o.rows(ranked=ranked, clean=o.aim.margin(z), top=o.x.new_full((len(o),), -INF), was=o.x.new_full((len(o),), INF))
    schedule = (FIRST, *ROUNDS[:rounds])
    for number in o.restarts(len(schedule)):
        s.was = lacking(s.top, s.clean)
        climb(o, s, schedule[number], max(round(schedule[number].steps * steps), 1), diverse=number > 0)
        left = schedule[number + 1 :]
        if left:
            near = lacking(s.top, s.clean)
            o.leave((near >= left[0].below * patience) & (near >= (s.was - near) * len(left)))


def climb(o: Oracle, s: Rows, this: Round, steps: int, *, diverse: bool) -> None:
    """One ascent by signs (in L2, by unit gradients) whose step falls from the radius to a thousandth along a cosine."""
    x = diverse_start(o) if diverse else random_start(o)  # rows may fall on the way, and are dropped from `s`
    target = s.ranked[:, this.up % s.ranked.shape[1]] if isinstance(this.up, int) else s.ranked[:, 0]
    at = o.rows(x=x, target=target)
    for i in o.steps(steps):
        _, gradient = o.ascend(at.x, _objective(this, at))
        at.x = o.project(at.x + o.steepest(gradient, at.x, cosine(i, steps, 1.0, 1e-3) * o.eps))
    s.top = torch.maximum(s.top, o.conclude(at.x, Aim.margin))


def _objective(this: Round, at: Rows) -> Loss:
    return towards(at.target) if isinstance(this.up, int) else LOSSES[this.up]
