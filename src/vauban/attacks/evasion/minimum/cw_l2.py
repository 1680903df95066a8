"""Carlini and Wagner's attack in the Euclidean norm."""

import torch
from torch import Tensor

from vauban.attacks.parts.adam import adam_step
from vauban.attacks.parts.box import around, from_tanh
from vauban.attacks.parts.constant import next_turn, start_search
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Natural, Positive, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import per_row
from vauban.threat import Access


@attack(Access.GRADIENT, on=("l2",), minimal=True, paper="Carlini and Wagner 2017, arXiv:1608.04644, section VI-A")
def cw_l2(
    o: Oracle, steps: Count = 1000, searches: Count = 9, rate: Positive = 0.01, constant: Positive = 0.001, kappa: Natural = 0.0
) -> None:
    """Adam on squared distance plus a constant times the missing margin, in a variable that cannot leave the box; the constant by search.

    Each row has a clock of its own: a search ends for it, not for its batch, once its objective no longer falls.
    """

    def short_of(aim: Aim, z: Tensor) -> Tensor:
        return (aim.margin(z) - kappa).clamp_max(0)

    start, middle, half = around(o.x, o.limits)
    s = o.rows(
        w=start, start=start, middle=middle, half=half, m=torch.zeros_like(start), v=torch.zeros_like(start), age=start.new_zeros(len(o))
    )
    q = start_search(o, constant)
    for _ in o.steps(steps * searches):
        x, slope = from_tanh(s.w, s.middle, s.half, o.limits)
        value, gradient, fooled = o.explore(x, short_of)
        change = x - o.x
        objective = change.flatten(1).square().sum(1) - q.c * value
        won = fooled & (value >= 0)
        s.w = s.w + adam_step(s, (2 * change - per_row(q.c, x) * gradient) * slope, rate)
        again = next_turn(o, q, won, objective, steps, searches)
        if bool(again.any()):
            s.w, s.m, s.v = pick(again, s.start, s.w), pick(~again, s.m, 0 * s.m), pick(~again, s.v, 0 * s.v)
            s.age = torch.where(again, 0.0, s.age)
