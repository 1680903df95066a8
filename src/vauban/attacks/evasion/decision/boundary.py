"""The Boundary attack: a random walk along the decision boundary, in L2."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.first_success import first_success
from vauban.attacks.parts.segment import to_boundary
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle, Rows
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import Access

CHECK = 10
"""Every so many steps the sphere is asked about too."""
CHECKS, STEPS = 10, 30
"""So many answers are counted before a length is adapted."""
FACTOR = 1.5
LEAST = 1e-5
"""A row whose steps inwards became shorter than this, as a share of the distance, leaves."""


@attack(Access.LABEL, on=("l2",), minimal=True, paper="Brendel, Rauber and Bethge 2018, arXiv:1712.04248, algorithm 1")
def boundary(o: Oracle, queries: Count = 10_000, sphere: Positive = 0.1, source: Positive = 0.01, starts: Count = 100) -> None:
    """A random step on the sphere around the clean input and one towards it, kept where it fools.

    At most `queries` questions on each row after a first success, for which at most `starts` ask about noise. The steps are shares of the
    distance, `sphere` and `source` at first, and follow how often they succeed: about half of the first kind should, and a quarter of both.
    """
    start = to_boundary(o, first_success(o, starts), 1e-2)
    zero, n = start.new_zeros(len(o)), len(o)
    s = o.rows(
        x=start,
        sphere=start.new_full((n,), sphere),
        source=start.new_full((n,), source),
        round=zero,
        checks=zero,
        nearer=zero,
        steps=zero,
        t=zero,
    )
    for _ in o.steps(queries):
        on, nearer = _proposals(o, s)
        check = (s.t % CHECK == 0) & (o.left > 1)
        won = o.fooled(torch.stack([nearer, on]), torch.stack([check | ~check, check]))
        size = norms_of_rows(nearer - o.x, 2.0, o.x.ndim - 1)
        s.x = pick(won[0] & (size < norms_of_rows(s.x - o.x, 2.0, o.x.ndim - 1)), nearer, s.x)
        _adapt(s, won, check)
        o.leave((s.t + s.checks >= queries) | (s.source < LEAST))


def _proposals(o: Oracle, s: Rows) -> tuple[Tensor, Tensor]:
    """A point on the sphere through x around the clean input, and the one that lies a step further in, both in the box."""
    features = o.x.ndim - 1
    d = s.x - o.x
    size = norms_of_rows(d, 2.0, features).clamp_min(1e-30)
    unit = d / per_row(size, d)
    noise = o.noise.normal(*o.x.shape[1:]).to(d)
    noise = noise - unit * per_row((noise * unit).flatten(1).sum(1), d)
    noise = noise * per_row(s.sphere / norms_of_rows(noise, 2.0, features).clamp_min(1e-30), d)
    on = (o.x + (unit + noise) * per_row(size / (1 + s.sphere.square()).sqrt(), d)).clamp(*o.limits)
    off = norms_of_rows(on - o.x, 2.0, features).clamp_min(1e-30)  # the box may have brought it nearer already
    share = ((1 - s.source) * size / off).clamp_max(1.0)
    return on, (o.x + (on - o.x) * per_row(share, d)).clamp(*o.limits)


def _adapt(s: Rows, won: Tensor, check: Tensor) -> None:
    """Longer steps where they succeed often, shorter ones where they seldom do."""
    s.t, s.steps, s.nearer = s.t + 1, s.steps + 1, s.nearer + won[0]
    s.checks, s.round = s.checks + check, s.round + (check & won[1])
    full = check & (s.checks % CHECKS == 0)
    s.sphere = torch.where(full, _scaled(s.sphere, s.round / CHECKS, 0.5, 0.2), s.sphere).clamp_max(1.0)
    s.source = torch.where(full, _scaled(s.source, s.round / CHECKS, 0.5, 0.2), s.source)
    s.round = torch.where(full, 0.0, s.round)
    done = s.steps >= STEPS
    s.source = torch.where(done, _scaled(s.source, s.nearer / STEPS, 0.25, 0.1), s.source).clamp_max(0.5)
    s.steps, s.nearer = torch.where(done, 0.0, s.steps), torch.where(done, 0.0, s.nearer)


def _scaled(length: Tensor, share: Tensor, often: float, seldom: float) -> Tensor:
    return torch.where(share > often, length * FACTOR, torch.where(share < seldom, length / FACTOR, length))
