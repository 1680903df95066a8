"""Interval and linear bounds of the network over the whole ball."""

from vauban.attacks.registry import Positive, attack
from vauban.bounds.limits import Level
from vauban.doors import Aim, Oracle
from vauban.threat import Access


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1"),
    paper="Gowal et al. 2018, arXiv:1810.12715; Zhang et al. 2018, arXiv:1811.00866",
    proof=True,
)
def linear_bounds(o: Oracle, level: Level = "crown", hope: Positive = 20.0) -> None:
    """Prove rows robust by bounding every wrong class's lead over the ball: by intervals, and where these come near enough by linear bounds.

    Linear bounds cost as much as hundreds of passes, so they are tried where intervals say that the lead can fall by no more than `hope` times
    what it is at the clean input. A model with an operator of which no bounds are known is left as it is, and the record says so.
    """
    lead = o.certify("interval")
    if level != "interval" and len(o) and bool(lead.isfinite().any()):
        clean = -o.look(o.x, Aim.margin).to(lead)
        o.certify(level, (lead > -hope * clean).to(o.x.device))
