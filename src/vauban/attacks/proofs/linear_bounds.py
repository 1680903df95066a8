"""Interval and linear bounds of the network over the whole ball."""

from vauban.attacks.parts.hope import lacking
from vauban.attacks.registry import Natural, Positive, attack
from vauban.bounds.limits import Level
from vauban.doors import Aim, Oracle
from vauban.threat import Access


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1"),
    paper="Gowal et al. 2018, arXiv:1810.12715; Zhang et al. 2018, arXiv:1811.00866",
    proof=True,
)
def linear_bounds(o: Oracle, level: Level = "crown", far: Natural = 3.0, hope: Positive = 40.0) -> None:
    """Prove rows robust by bounding every wrong class's lead over the ball: by intervals, and where there is hope by linear bounds.

    Linear bounds cost as much as hundreds of passes. There is hope for a row where one gradient step of the whole radius leaves the margin lacking
    more than `far` times what it gained, and where intervals say that the lead can fall by no more than `hope` times itself. A model with an
    operator of which no bounds are known is left as it is, and the record says so.
    """
    s = o.rows(lead=o.certify("interval"))
    if level == "interval" or not bool(s.lead.isfinite().any()):
        return
    for _ in o.steps(1):
        clean, gradient = o.ascend(o.x, Aim.margin)
        tip = o.look(o.project(o.x + o.steepest(gradient, o.x, o.eps)), Aim.margin)
        there_is_hope = (lacking(tip, clean) > far) & (s.lead.to(clean) > hope * clean)
        o.certify(level, there_is_hope)
