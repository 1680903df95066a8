"""Auto-PGD towards one class after another: the likeliest wrong ones, one run each."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from vauban.attacks.evasion.gradient.apgd import PAPER, run
from vauban.attacks.parts.targets import dlr_towards, ranked_targets, towards
from vauban.attacks.registry import Count, attack
from vauban.doors import Aim, Loss, Oracle
from vauban.threat import Access

Targeted = Literal["dlr", "margin"]
TARGETED: Mapping[Targeted, Callable[[Tensor], Loss]] = {"dlr": dlr_towards, "margin": towards}


@attack(Access.GRADIENT, on=("linf", "l2", "l1"), paper=f"{PAPER}; targeted as in section 4.1 of the first")
def apgd_t(
    o: Oracle, steps: Count = 100, targets: Count = 9, restarts: Count = 1, loss: Targeted = "dlr", eot: Count = 1, large_eps: bool = False
) -> None:
    """Auto-PGD towards each of the likeliest wrong classes of the clean input in turn; any wrong answer on the way counts.

    One question for the ranking, then `restarts` runs of `apgd` a class. Where the goal names a class, that is the only target.
    """
    s = o.rows(ranked=ranked_targets(o, targets))

    def ahead(aim: Aim, z: Tensor) -> Tensor:
        return TARGETED[loss](s.target)(aim, z)

    for i in o.restarts(s.ranked.shape[1] * restarts):
        s.target = s.ranked[:, i // restarts]
        run(o, ahead, steps, eot=eot, large_eps=large_eps)
