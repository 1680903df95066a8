"""Carlini and Wagner's attack in the maximum norm."""

import torch
from torch import Tensor

from vauban.attacks.parts.adam import adam_step
from vauban.attacks.parts.box import around, from_tanh
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access


@attack(Access.GRADIENT, on=("linf",), minimal=True, paper="Carlini and Wagner 2017, arXiv:1608.04644, section VI-C")
def cw_linf(
    o: Oracle,
    steps: Count = 1000,
    trial: Count = 100,
    rate: Positive = 0.01,
    constant: Positive = 0.1,
    most: Positive = 200.0,
    shrink: Share = 0.9,
) -> None:
    """Adam on what sticks out beyond tau, plus a constant times the missing margin; tau shrinks at every success, the constant doubles
    at every trial without one.

    `steps` in all for each row, at most `trial` of them for one tau and constant; a row ends when its constant has grown beyond `most`.
    """

    def short_of(aim: Aim, z: Tensor) -> Tensor:
        return aim.margin(z).clamp_max(0)

    w, middle, half = around(o.x, o.limits)
    n, zero = len(o), torch.zeros_like(w)
    s = o.rows(
        w=w,
        m=zero,
        v=zero,
        age=w.new_zeros(n),
        middle=middle,
        half=half,
        turn=w.new_zeros(n),
        c=w.new_full((n,), constant),
        tau=w.new_full((n,), o.ball.width),
    )
    for _ in o.steps(steps):
        x, slope = from_tanh(s.w, s.middle, s.half, o.limits)
        _, gradient, fooled = o.explore(x, short_of)
        change = x - o.x
        size = norms_of_rows(change, INF, o.x.ndim - 1)
        tighter = fooled & (size <= s.tau * (1 + 1e-6) + 1e-9)
        s.tau = torch.where(tighter, torch.minimum(s.tau, size) * shrink, s.tau)
        s.turn = torch.where(tighter, 0.0, s.turn + 1)
        late = s.turn >= trial
        s.c, s.turn = torch.where(late, s.c * 2, s.c), torch.where(late, 0.0, s.turn)
        anew = tighter | late
        if bool(anew.any()):
            s.m, s.v, s.age = pick(anew, torch.zeros_like(s.m), s.m), pick(anew, torch.zeros_like(s.v), s.v), torch.where(anew, 0.0, s.age)
        sticks_out = change.sign() * (change.abs() > per_row(s.tau, x))
        s.w = s.w + adam_step(s, (sticks_out - per_row(s.c, x) * gradient) * slope, rate)
        o.leave(s.c > most)
