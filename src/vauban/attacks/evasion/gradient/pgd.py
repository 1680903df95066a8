"""Projected gradient ascent, and its older form from the clean input."""

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.starts import Start, start_of
from vauban.attacks.registry import Count, Positive, attack, preset
from vauban.doors import Oracle
from vauban.threat import Access


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper="Madry et al. 2018, arXiv:1706.06083")
def pgd(
    o: Oracle, steps: Count = 40, step: Positive = 0.1, restarts: Count = 1, loss: LossName = "cross-entropy", start: Start = "uniform"
) -> None:
    """Projected gradient ascent from a random point of the ball; `step` is a share of the radius."""
    for _ in o.restarts(restarts):
        s = o.rows(x=start_of(o, start))
        for _ in o.steps(steps):
            _, gradient = o.ascend(s.x, LOSSES[loss])
            s.x = o.project(s.x + o.steepest(gradient, s.x, step * o.eps))
        o.submit(s.x)


bim = preset(
    "bim",
    "The basic iterative method: PGD from the clean input, with ten steps of an eighth of the radius.",
    pgd,
    paper="Kurakin et al. 2017, arXiv:1607.02533, section 2.2",
    steps=10,
    step=0.125,
    start="clean",
)
