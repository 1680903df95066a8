"""The inner loop: the worst inputs that an attack finds for the model as it is now."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vauban.attacks import Attack
from vauban.attacks.parts.starts import start_of
from vauban.defences.training.rows import Part
from vauban.doors import Loss, Oracle
from vauban.errors import BadPlan
from vauban.geometry import per_row
from vauban.target import Target
from vauban.threat import Access, Ball, Edits, Features, Goal, Patch, Threat


def worst(target: Target, x: Tensor, y: Tensor, threat: Threat, attack: Attack, *, ids: Tensor, seed: int) -> Tensor:
    """The inputs that the attack asked about last, for every row: within the radius, nothing judged, nothing settled.

    Args:
        x, y, ids: clean inputs (n, *shape), true classes (n,), and what the noise of each row is keyed by (n,).
    """
    o = Oracle(target, x, y, threat, settle="worst", seed=seed, ids=ids, max_rows=len(x))
    attack(o)
    found = o.outcome.best
    return o.space.body.project(o.inputs, found, o.space.body.limits(o.inputs)) if o.space.identity and len(o) == len(x) else found


def climbed(target: Target, rows: Part, threat: Threat, loss: Loss, steps: int, step: float, start: Tensor | None, seed: int) -> Tensor:
    """Inputs (n, *shape) after projected gradient ascent on an objective of a method's own; nothing judged, nothing settled.

    Rows that the threat's goal does not concern stay as they are.
    """
    free = replace(threat, goal=Goal())
    o = Oracle(target, rows.x, rows.y, free, settle="worst", seed=seed, ids=rows.ids, max_rows=len(rows))
    with o.attacking("pgd", Access.GRADIENT, minimal=False, everyone=True, queries=math.inf):
        x = start_of(o, "uniform") if start is None else o.project(start)
        for _ in range(steps):
            _, gradient = o.ascend(x, loss)
            x = o.project(x + o.steepest(gradient, x, step * o.eps))
    return torch.where(per_row(concerned(threat.goal, rows.y), x), x, rows.x)


def searched(target: Target, rows: Part, threat: Threat, search: Callable[[Oracle], Tensor], seed: int) -> Tensor:
    """What a search of a method's own gives, (n, *shape), as it stands: inside radius and box only where the search puts it there.

    Nothing judged, nothing settled; rows that the threat's goal does not concern stay as they are.
    """
    o = Oracle(target, rows.x, rows.y, threat, settle="worst", seed=seed, ids=rows.ids, max_rows=len(rows))
    with o.attacking("search", Access.GRADIENT):
        about = torch.isin(rows.ids, o.noise.ids).nonzero()[:, 0]
        return rows.x.index_copy(0, about, search(o)) if len(about) else rows.x


def concerned(goal: Goal, y: Tensor) -> Tensor:
    """The rows that a goal is about, bool (n,): those of its sources that are not of the wanted class already."""
    about = torch.isin(y, torch.tensor(goal.sources, device=y.device)) if goal.sources else torch.ones_like(y, dtype=torch.bool)
    return about & (y != goal.wanted) if isinstance(goal.wanted, int) else about


def for_training(threat: Threat) -> Threat:
    """The threat as its owner trains against it: with gradients, without budget or time limit."""
    return replace(threat, access=Access.GRADIENT, queries=math.inf, gradients=math.inf, seconds=math.inf)


def shrunk(threat: Threat, share: float) -> Threat:
    """The threat with a share of its radius; an L0 radius stays a whole number of features, a patch one of pixels, at least 1.

    >>> shrunk(Threat("t", Ball(0.4)), 0.25).perturbation.eps
    0.1
    """
    if share >= 1:
        return threat
    allowed = threat.perturbation
    if isinstance(allowed, Features):
        return replace(
            threat, perturbation=allowed.within(max(round(allowed.eps * share), 1) if allowed.norm == 0 else allowed.eps * share)
        )
    if isinstance(allowed, Edits):
        raise BadPlan(f"threat {threat.name!r} allows edits of texts, and training is against inputs that are numbers; give another threat")
    if isinstance(allowed, Patch):
        tall, wide = (max(round(side * share), 1) for side in allowed.size)
        return replace(threat, perturbation=replace(allowed, size=(tall, wide)))
    if not isinstance(allowed, Ball):
        return replace(threat, perturbation=replace(allowed, rotation=allowed.rotation * share, translation=allowed.translation * share))
    eps = max(round(allowed.eps * share), 1) if allowed.norm == 0 else allowed.eps * share
    return replace(threat, perturbation=replace(allowed, eps=eps))


def mixed(seed: int, *words: int | str) -> int:
    """A seed for one purpose, from the seed of the whole: 63 bits."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *words)).encode(), digest_size=8).digest(), "little") >> 1


def wider(threat: Threat, factor: float) -> Threat:
    """The threat with the radius of its ball times a factor.

    >>> wider(Threat("t", Ball(0.1)), 1.5).perturbation.eps
    0.15000000000000002
    """
    ball = threat.perturbation
    return replace(threat, perturbation=replace(ball, eps=ball.eps * factor)) if isinstance(ball, Ball) and factor != 1 else threat
