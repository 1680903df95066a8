"""The Square attack from where a surrogate leads."""

from __future__ import annotations

from vauban.attacks.evasion.score.square import WALKS, search
from vauban.attacks.parts.halvings import Schedule, share
from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.priors import transferred
from vauban.attacks.registry import Count, Share, attack
from vauban.doors import Oracle
from vauban.threat import Access


@attack(
    Access.SCORE,
    on=("linf", "l2", "l1"),
    paper="Andriushchenko et al. 2020, arXiv:1912.00049, algorithms 1 to 3; the start: Dong et al. 2018, arXiv:1710.06081, algorithm 1",
    prior=True,
)
def square_transfer(
    o: Oracle,
    queries: Count = 5000,
    p_init: Share = 0.8,
    loss: LossName = "margin",
    schedule: Schedule = "rescaled",
    steps: Count = 10,
) -> None:
    """Square search from the better of its own start and the end of MI-FGSM on a surrogate, which is asked about first.

    `steps` are those on the surrogate, which raise the same loss. The other settings are those of "square".
    """
    asked = int(min(queries, o.threat.queries))
    rival = o.rows(x=transferred(o, steps, loss=LOSSES[loss]))
    rival.value = o.score(rival.x, LOSSES[loss], kind="initial")
    walk = WALKS[o.ball.p](o, lambda move: share(move, asked, p_init, schedule))
    for _ in search(o, walk, queries - 1, LOSSES[loss], rival):
        pass
