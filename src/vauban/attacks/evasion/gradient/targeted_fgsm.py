"""The fast gradient method towards a class: down the cross-entropy of a class the attacker picks, in one step or several."""

from typing import Literal

import torch
from torch import Tensor

from vauban.attacks.registry import Count, attack, preset
from vauban.doors import Aim, Oracle
from vauban.threat import Access

Towards = Literal["goal", "runner-up", "least-likely"]
PAPER = "Kurakin et al. 2017, arXiv:1607.02533, section 2.3"


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper=PAPER)
def targeted_fgsm(o: Oracle, steps: Count = 1, towards: Towards = "goal") -> None:
    """Down the cross-entropy of a chosen class: the wanted one, else the runner-up or the least likely class of the clean input.

    X' = Clip(X - eps sign(grad J(X, y_target))); with several steps each goes eps / steps.
    """
    s = o.rows(x=o.x, aimed=_chosen(o, towards))

    def likelier(aim: Aim, z: Tensor) -> Tensor:
        return -torch.nn.functional.cross_entropy(z, aim.of(s.aimed), reduction="none")

    for _ in o.steps(steps):
        _, gradient = o.ascend(s.x, likelier)
        s.x = o.project(s.x + o.steepest(gradient, s.x, o.eps / steps))
    o.submit(s.x)


def _chosen(o: Oracle, towards: Towards) -> Tensor:
    """The class to go for, int64 (n,)."""
    if o.aim.wanted and towards == "goal":
        return o.aim.anchor
    z = o.look(o.x)  # of what the gradients are taken from
    return z.masked_fill(o.aim.loses, float("inf")).argmin(1) if towards == "least-likely" else o.aim.best_winner(z)


iterated_targeted_fgsm = preset(
    "iterated-targeted-fgsm", "Down the cross-entropy of a chosen class, in ten steps.", targeted_fgsm, paper=PAPER, steps=10
)
