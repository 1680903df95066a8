"""The ladder: what an attacker without the model climbs, rung by rung, as its access and its questions allow."""

from __future__ import annotations

import math
from typing import Any

from vauban.attacks.registry import Attack, find
from vauban.threat import INF, Access, Threat

PLENTY = 10_000
"""Questions on a row that are planned with where the threat sets no limit."""
FEW = 1000
"""Fewer than this do not pay for estimates of a gradient from labels."""


def ladder(threat: Threat) -> list[Attack]:
    """The attacks of the ladder, in order: blind noise; candidates that fool surrogates; scores with a surrogate; scores alone; labels.

    An attacker asks on while a row stands and its budget lasts: each rung gets its share of what the ones before it left, and the last one the
    rest. Rungs that need a surrogate of the attacker's own are left out by `suite` where there is none, and those that ask for more than the
    threat grants.
    """
    kind = threat.perturbation.kind
    most = min(threat.queries, PLENTY)
    rest = most - 10 if threat.access >= Access.LABEL else most
    return [
        *_blind(most),
        *_transfer(),
        _a("linear-bounds"),
        *_prior(kind, rest),
        *_scores(kind, rest),
        *_labels(kind, rest),
    ]


def _blind(most: float) -> list[Attack]:
    """Noise, and where questions are plenty all that no report should lack."""
    if most < FEW:
        return [_a("uniform-noise").spending(min(3, most))]
    return [*(_a(name) for name in ("uniform-noise", "gaussian-noise", "salt-and-pepper", "contrast", "blur")), _a("spatial")]


def _transfer() -> list[Attack]:
    """Three candidates from gradients of the surrogate, each asked about once."""
    return [_a("mi-fgsm"), _a("transfer"), _a("vmi-fgsm")]


def _prior(kind: str, rest: float) -> list[Attack]:
    """A search that the surrogate points the way."""
    share = _share(rest, 0.1, 100)
    if kind in ("linf", "l1"):
        return [_a("square-transfer").spending(_share(rest, 0.3, 2000))]
    return [_a("gfcs").spending(share)] if kind == "l2" else []


def _scores(kind: str, rest: float) -> list[Attack]:
    """Searches by scores alone: first the one that is quickest, then the one that goes furthest."""
    if kind == "patch":
        share = _share(rest, 0.6, 5000)
        return [_a("sparse-rs-patch", queries=max(share // 4, 1), restarts=4).spending(share)]
    if kind in ("l0", "pixels"):
        return [_a("sparse-rs").spending(_share(rest, 0.6, 5000))]
    if kind == "features":
        return [_a("moeva")]
    quick = [_a("signhunter").spending(_share(rest, 0.1, 100))] if kind == "linf" else []
    share = _share(rest, 0.4, 5000)
    return [*quick, _a("square", queries=max(share, 1)).spending(share)]


def _labels(kind: str, rest: float) -> list[Attack]:
    """Searches by labels alone."""
    if kind == "linf":
        return [_a("rays")]
    if kind == "l2":
        return [_a("surfree")] if rest < FEW else [_a("surfree").spending(_share(rest, 0.2, FEW)), _a("hop-skip-jump")]
    return [_a("geoda")] if kind == "l1" else []


def _share(rest: float, share: float, most: int) -> int:
    """So much of what is left, at least one question."""
    return most if rest == INF else max(1, min(most, math.floor(rest * share)))


def _a(name: str, **settings: Any) -> Attack:
    """An attack on the rows that stand: an attacker that pays for its questions asks nothing about a row that fell, not for a curve either."""
    return find(name).bind(**settings).on_survivors()
