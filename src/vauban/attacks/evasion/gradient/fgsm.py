"""The fast gradient method, and its step from a random point."""

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.starts import random_change
from vauban.attacks.registry import Share, attack
from vauban.doors import Oracle
from vauban.threat import Access


@attack(
    Access.GRADIENT, on=("linf", "l2", "l1", "l0", "pixels", "patch", "transformations"), paper="Goodfellow et al. 2015, arXiv:1412.6572"
)
def fgsm(o: Oracle, loss: LossName = "cross-entropy") -> None:
    """One step along the gradient, to the edge of the ball."""
    _, gradient = o.ascend(o.x, LOSSES[loss])
    o.submit(o.project(o.x + o.steepest(gradient, o.x, o.eps)))


@attack(Access.GRADIENT, on=("linf", "l2", "l1"), paper="Tramèr et al. 2018, arXiv:1705.07204, equation 7")
def r_fgsm(o: Oracle, alpha: Share = 0.5, loss: LossName = "cross-entropy") -> None:
    """A random step of `alpha` of the radius, then one along the gradient for the rest of it."""
    x = o.project(o.x + random_change(o, alpha * o.eps, surface=True))
    _, gradient = o.ascend(x, LOSSES[loss])
    o.submit(o.project(x + o.steepest(gradient, x, (1 - alpha) * o.eps)))
