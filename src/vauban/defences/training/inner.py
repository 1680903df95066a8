"""The inner loop: the worst inputs that an attack finds for the model as it is now."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from torch import Tensor

from vauban.attacks import Attack
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.target import Target
from vauban.threat import Access, Ball, Edits, Features, Threat


def worst(target: Target, x: Tensor, y: Tensor, threat: Threat, attack: Attack, *, ids: Tensor, seed: int) -> Tensor:
    """The inputs that the attack asked about last, for every row: within the radius, nothing judged, nothing settled.

    Args:
        x, y, ids: clean inputs (n, *shape), true classes (n,), and what the noise of each row is keyed by (n,).
    """
    o = Oracle(target, x, y, threat, settle="worst", seed=seed, ids=ids, max_rows=len(x))
    attack(o)
    found = o.outcome.best
    return o.space.body.project(o.inputs, found, o.space.body.limits(o.inputs)) if o.space.identity and len(o) == len(x) else found


def for_training(threat: Threat) -> Threat:
    """The threat as its owner trains against it: with gradients, without budget or time limit."""
    return replace(threat, access=Access.GRADIENT, queries=math.inf, gradients=math.inf, seconds=math.inf)


def shrunk(threat: Threat, share: float) -> Threat:
    """The threat with a share of its radius; an L0 radius stays a whole number of features, at least 1.

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
    if not isinstance(allowed, Ball):
        return replace(threat, perturbation=replace(allowed, rotation=allowed.rotation * share, translation=allowed.translation * share))
    eps = max(round(allowed.eps * share), 1) if allowed.norm == 0 else allowed.eps * share
    return replace(threat, perturbation=replace(allowed, eps=eps))


def mixed(seed: int, *words: int | str) -> int:
    """A seed for one purpose, from the seed of the whole: 63 bits."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *words)).encode(), digest_size=8).digest(), "little") >> 1
