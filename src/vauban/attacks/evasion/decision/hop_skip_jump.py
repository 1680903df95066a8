"""HopSkipJump in L2 and L-infinity, and QEBA: the same with probes from a subspace."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vauban.attacks.parts.first_success import first_success
from vauban.attacks.parts.hops import Hops, Rules, fine
from vauban.attacks.parts.segment import size_of
from vauban.attacks.parts.subspace import Directions, Subspace
from vauban.attacks.registry import Count, Positive, attack, preset
from vauban.doors import Oracle, Rows
from vauban.geometry import per_row
from vauban.threat import INF, Access

HALVINGS = 15
"""How often a jump is halved before the row stays where it is."""
BUDGETS = 100
"""By default the first estimate takes a budget's so-manieth part, but 25 questions at least and 40 at most."""


@attack(Access.LABEL, on=("l2", "linf"), minimal=True, paper="Chen, Jordan and Wainwright 2020, arXiv:1904.02144, algorithm 2")
def hop_skip_jump(
    o: Oracle,
    steps: Count = 64,
    probes: Annotated[int, Field(ge=0)] = 0,
    theta: Positive = 3e-3,
    starts: Count = 100,
    directions: Directions = "full",
    reduction: Positive = 4,
) -> None:
    """From the boundary along its estimated normal, and back to it on the way to the clean input, again and again.

    The estimate of step t takes `probes` sqrt(t) questions: 100 as published, and by default (0) fewer where the budget is small. A search
    for the boundary ends at `theta`, as a share of the distance, and probes go as far as that is coarse: the published value,
    features^-1.5 (features^-2 in L-infinity), asks for a precision that costs questions and that float32 inputs do not have. At most `starts`
    questions on noise look for a first success. `directions` "dct" or "bilinear" draws probes from a subspace with `reduction` times fewer
    coefficients along each side of an image.
    """
    start, space = first_success(o, starts), Subspace.of(directions, o.x, reduction)
    own = o.rows(first=torch.full_like(o.left, probes) if probes else (o.left // BUDGETS).clamp(25, 40))

    def delta(s: Rows) -> Tensor:
        return torch.where(s.t == 1, 0.1 * o.ball.width, fine(o, s, theta))

    def jump(s: Rows) -> Tensor:
        way = s.normal.sign() if o.ball.p == INF else s.normal
        return torch.addcmul(s.x, way, per_row(s.size, s.x))

    rules = Rules(
        probes=lambda s: own.first * s.t.sqrt(),
        delta=delta,
        size=lambda s: size_of(o, s.x - o.x) / s.t.sqrt(),
        jump=jump,
        again=0.5,
        tries=HALVINGS,
    )
    Hops(o, start, theta, space, rules).run(steps)


qeba = preset(
    "qeba",
    "HopSkipJump with probes from low frequencies: a quarter of them along each side of the image.",
    hop_skip_jump,
    paper="Li et al. 2020, arXiv:2005.14137",
    directions="dct",
)
