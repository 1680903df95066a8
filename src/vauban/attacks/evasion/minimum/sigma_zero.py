"""Sigma-zero: the fewest changed features or pixels, by a smooth count of them and a threshold that adapts."""

import torch
from torch import Tensor

from vauban.attacks.parts.adam import adam_step
from vauban.attacks.parts.select import cosine
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access


@attack(Access.GRADIENT, on=("l0", "pixels"), minimal=True, paper="Cina et al. 2024, arXiv:2402.01879, algorithm 1")
def sigma_zero(
    o: Oracle,
    steps: Count = 1000,
    length: Positive = 1.0,
    sigma: Positive = 0.001,
    threshold: Share = 0.3,
    shift: Share = 0.01,
) -> None:
    """Adam on what the margin lacks plus the mean of d^2 / (d^2 + sigma); changes below a threshold are undone, which rises after success.

    Changes d, the threshold and the step `length` (which falls to a tenth of it along a cosine) are in ranges of their feature; the threshold
    moves by `shift` step lengths. The margin is a share of what it lacks at the clean input, so that neither the scale of the scores, which
    weighs it in the paper, nor a constant added to them matters. Where pixels are counted, d^2 is summed over the channels of each, and the
    threshold is on the sum of their |d|.
    """

    def short_of(aim: Aim, z: Tensor) -> Tensor:
        return aim.margin(z).clamp_max(0)

    zero, features = torch.zeros_like(o.x), o.x.ndim - 1
    none = zero.new_zeros(len(o))
    s = o.rows(x=o.x, m=zero, v=zero, age=none, unit=none, least=none + threshold)
    for i in o.steps(steps):
        span = (o.limits[1] - o.limits[0]).clamp_min(1e-30)
        rate = cosine(i, steps, length, length / 10)
        value, gradient, fooled = o.explore(s.x, short_of)
        if i == 0:
            s.unit = value.abs().clamp_min(1e-12)
        d = (s.x - o.x) / span
        size = o.ball.together(d.square())
        down = 2 * sigma * d / (size + sigma).square() / size[0].numel() - gradient * span / per_row(s.unit, gradient)
        down = down / per_row(norms_of_rows(down, INF, features).clamp_min(1e-12), down)
        x = o.project(s.x + adam_step(s, down, rate) * span)
        s.least = (s.least + torch.where(fooled, shift * rate, -shift * rate)).clamp(0, 1)
        s.x = torch.where(o.ball.together((x - o.x).abs()) < per_row(s.least, x) * span, o.x, x)
    o.finish(s.x)
