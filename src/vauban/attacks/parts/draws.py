"""Gradients of what answers at random: the mean over several draws."""

from __future__ import annotations

from torch import Tensor

from vauban.doors import Loss, Oracle


def ascend_mean(o: Oracle, x: Tensor, loss: Loss, draws: int) -> tuple[Tensor, Tensor]:
    """The mean value of an objective, (n,), and of its gradient, (n, *shape), over `draws` questions at the same points x (n, *shape).

    Every question has noise of its own, is charged, and is judged. This is the mean of the losses, as in AutoAttack's version for randomised
    models; the surrogate `Expectation` gives the loss of the mean scores instead.
    """
    if draws == 1:
        return o.ascend(x, loss)
    value, gradient = o.ascend(x.expand(draws, *x.shape), loss)
    return value.mean(0), gradient.mean(0)
