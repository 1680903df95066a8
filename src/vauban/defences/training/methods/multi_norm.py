"""Training against several norms at once, best begun from a model that withstands one of them."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from vauban.defences.training.inner import shrunk
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS
from vauban.errors import BadPlan
from vauban.settings import Natural
from vauban.threat import Ball, Threat

FADING = 0.1
"""The weight of a batch in the running errors."""


def every_norm(threat: Threat, *, l1: float = 0.0, l2: float = 0.0, linf: float = 0.0, **_: Any) -> tuple[Threat, ...]:
    """The threat, and as many more as radii of other norms are given.

    Raises:
        BadPlan: there is no other, or the threat's own norm has another radius.
    """
    allowed = cast("Ball", threat.perturbation)
    given = {"l1": l1, "l2": l2, "linf": linf}
    own = given.pop(allowed.kind, 0.0)
    if own not in (0.0, allowed.eps):
        raise BadPlan(
            f"training method 'multi-norm': {allowed.kind} = {own:g}, and threat {threat.name!r} has eps = {allowed.eps:g}; leave it out"
        )
    if not any(given.values()):
        raise BadPlan("training method 'multi-norm' needs the radius of at least one other norm, such as l1 = 12")
    return (threat, *(replace(threat, perturbation=_with(allowed, norm, eps)) for norm, eps in given.items() if eps))


def _with(ball: Ball, norm: str, eps: float) -> Ball:
    return Ball(eps, norm, ball.lo, ball.hi, ball.mask)


@method(paper="Croce and Hein 2022, arXiv:2105.12508, section 4 (E-AT)", on=BALLS, union=every_norm)
def multi_norm(lesson: Lesson, *, l1: Natural = 0.0, l2: Natural = 0.0, linf: Natural = 0.0) -> Tensor:
    """Adversarial training in one norm a batch, drawn by its running robust error: the norm that is withstood least is trained most.

    The threat's own norm has the threat's radius; give those of the others. L1 and L-infinity alone cover much of L2 between them.
    """
    own = {lesson.threat.perturbation.kind: 0.0}
    now, *others = every_norm(lesson.threat, **{"l1": l1, "l2": l2, "linf": linf} | own)
    threats = [now, *(shrunk(other, lesson.share) for other in others)]
    errors = lesson.found(lambda: lesson.memory.get("errors", torch.ones(len(threats))))
    chosen = drawn(errors, lesson.lot("norm"))
    z = lesson.scores(lesson.attacked(threat=threats[chosen]))
    error = float((z.detach().argmax(1) != lesson.y).float().mean())
    lesson.memory["errors"] = errors.index_fill(0, torch.tensor(chosen), (1 - FADING) * float(errors[chosen]) + FADING * error)
    return lesson.cross_entropy(z)


def full(lesson: Lesson) -> Threat:
    """The threat at its whole radius."""
    allowed = cast("Ball", lesson.threat.perturbation)
    return replace(lesson.threat, perturbation=_with(allowed, allowed.kind, allowed.eps / lesson.share))


def drawn(errors: Tensor, lot: float) -> int:
    """A place, each as likely as its error (k,); all alike where there is none."""
    weights = errors if bool((errors > 0).any()) else torch.ones_like(errors)
    return min(int((weights.cumsum(0) / weights.sum() <= lot).sum()), len(errors) - 1)
