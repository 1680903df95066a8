"""The Square attack, in L-infinity, L2 and L1."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vauban.attacks.evasion.score.square_l1 import Spikes
from vauban.attacks.evasion.score.square_l2 import Masses
from vauban.attacks.evasion.score.square_linf import Corners
from vauban.attacks.parts.halvings import Schedule, share
from vauban.attacks.parts.hope import lacking
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.registry import Count, Natural, Share, attack
from vauban.doors import Loss, Oracle, Rows
from vauban.threat import INF, Access

LOOK = 50
"""Questions between two looks at which rows are given up."""
WALKS = {INF: Corners, 2.0: Masses, 1.0: Spikes}
Walk = Corners | Masses | Spikes


@attack(
    Access.SCORE,
    on=("linf", "l2", "l1"),
    paper="Andriushchenko et al. 2020, arXiv:1912.00049, algorithms 1 to 3; in L1: Croce and Hein 2021, arXiv:2103.01208",
)
def square(
    o: Oracle,
    queries: Count = 5000,
    p_init: Share = 0.8,
    loss: LossName = "margin",
    schedule: Schedule = "rescaled",
    restarts: Count = 1,
    hope: Natural = 0,
) -> None:
    """Random search over square windows: what raises the objective is kept, and the windows shrink as the questions go by.

    Each restart asks `queries` questions, the start among them. `p_init` is the share of the input in the first windows; `schedule`
    "published" halves it where AutoAttack does. For goals that want a class, the loss "cross-entropy" was published. The features of a
    vector have no neighbours: its windows are as many features, in an order drawn at random for each row again and again.

    With `hope`, which costs a question about the clean input, a row is given up once the margin lacks more than hope / (share of the questions
    asked) times what it has gained: 0.1 lost no row on the models it was tuned on, and saved three questions in four.
    """
    asked = int(min(queries, o.threat.queries))

    def part(move: int) -> float:
        return share(move, asked, p_init, schedule)

    clean = o.rows(value=o.score(o.x) if hope else o.x.new_zeros(len(o)))
    for _ in o.restarts(restarts):
        walk = WALKS[o.ball.p](o, part)
        for i, best in search(o, walk, queries, LOSSES[loss]):
            if hope and i % LOOK == LOOK - 1:
                o.leave(lacking(best.value, clean.value) > hope * asked / i)


def search(o: Oracle, walk: Walk, queries: int, loss: Loss, rival: Rows | None = None) -> Iterator[tuple[int, Rows]]:
    """Ask about the moves of a walk and keep those that raise the objective; every turn gives its number and the best `value` of each row.

    A `rival` holds points `x` whose `value` is known: the walk begins there in the rows where
    that is no worse than its own start.
    """
    best = o.rows(value=o.x.new_full((len(o),), -INF))
    for i in o.steps(queries):
        if i:
            walk.propose(i - 1)
        value = o.score(walk.point, loss)
        if i:
            walk.keep(value > best.value)
        elif rival is not None:
            walk.begin(rival.x, rival.value >= value)
            best.value = rival.value
        best.value = torch.fmax(best.value, value)
        yield i, best
