"""Iterated steps with momentum: MI-FGSM, and NI-FGSM which looks ahead."""

from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.registry import Count, Natural, attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import Access


@attack(Access.GRADIENT, on=("linf", "l2", "transformations"), paper="Dong et al. 2018, arXiv:1710.06081, algorithm 1")
def mi_fgsm(o: Oracle, steps: Count = 10, decay: Natural = 1.0, loss: LossName = "cross-entropy") -> None:
    """Iterated FGSM with momentum: gradients over their L1 norm accumulate with a decay."""
    s = o.rows(x=o.x, momentum=o.x.new_zeros(o.x.shape))
    for _ in o.steps(steps):
        _, gradient = o.ascend(s.x, LOSSES[loss])
        s.momentum = decay * s.momentum + unit_l1(gradient)
        s.x = o.project(s.x + o.steepest(s.momentum, s.x, o.eps / steps))
    o.submit(s.x)


@attack(Access.GRADIENT, on=("linf", "l2", "transformations"), paper="Lin et al. 2020, arXiv:1908.06281, section 3.1")
def ni_fgsm(o: Oracle, steps: Count = 10, decay: Natural = 1.0, loss: LossName = "cross-entropy") -> None:
    """MI-FGSM with Nesterov's look-ahead: the gradient is taken where the momentum is about to lead."""
    size = o.eps / steps
    s = o.rows(x=o.x, momentum=o.x.new_zeros(o.x.shape))
    for _ in o.steps(steps):
        ahead = o.project(s.x + size * decay * s.momentum)
        _, gradient = o.ascend(ahead, LOSSES[loss])
        s.momentum = decay * s.momentum + unit_l1(gradient)
        s.x = o.project(s.x + o.steepest(s.momentum, s.x, size))
    o.submit(s.x)


def unit_l1(gradient: Tensor) -> Tensor:
    """Each row over its L1 norm; zero rows stay zero."""
    return gradient / per_row(norms_of_rows(gradient, 1.0, gradient.ndim - 1).clamp_min(1e-30), gradient)
