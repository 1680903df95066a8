"""Adam with a clock for each row, so that rows may start anew at different times."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.doors import Rows
from vauban.geometry import per_row

B1, B2, TINY = 0.9, 0.999, 1e-8


def adam_step(s: Rows, gradient: Tensor, rate: float) -> Tensor:
    """The step down a gradient (Kingma and Ba 2015, algorithm 1). Reads and updates `s.m`, `s.v` (n, *shape) and `s.age` (n,)."""
    s.age = s.age + 1
    s.m = torch.lerp(s.m, gradient, 1 - B1)
    s.v = torch.addcmul(s.v * B2, gradient, gradient, value=1 - B2)
    age = s.age.to(gradient.dtype)
    scale = rate / (1 - B1**age)
    root = (s.v / per_row(1 - B2**age, s.v)).sqrt_().add_(TINY)
    return s.m / root * -per_row(scale, s.m)
