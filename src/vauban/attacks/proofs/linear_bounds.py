"""Interval and linear bounds of the network over the whole ball."""

from vauban.attacks.registry import attack
from vauban.bounds.limits import Level
from vauban.doors import Oracle
from vauban.threat import Access


@attack(
    Access.GRADIENT, on=("linf", "l2", "l1"), paper="Gowal et al. 2018, arXiv:1810.12715; Zhang et al. 2018, arXiv:1811.00866", proof=True
)
def linear_bounds(o: Oracle, level: Level = "crown") -> None:
    """Prove rows robust by bounding every wrong class's lead over the ball; the cheap bound first, the tighter on what it leaves.

    A model with an operator of which no bounds are known is left as it is, and the record says so.
    """
    o.certify(level)
