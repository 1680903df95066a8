"""Doubts about the attacks: signs that stronger ones would have found more."""

from __future__ import annotations

import math

import torch

from vauban.attacks import Attack, find
from vauban.campaign.doubts.answers import steady
from vauban.campaign.doubts.probe import CLIMBS, LEAD, SHORT, Probe, once, probe_of, steps_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt
from vauban.threat import Access

RISE = 0.05
"""A climb that still gained this share of its whole rise in its last steps was not finished (Pintor et al. 2022)."""
LAST = 10


def enough(probe: Probe, share: float = 0.02) -> int:
    """How many rows of the sample make a sign: 2, or a share of it."""
    return max(2, math.ceil(share * len(probe)))


def unbounded_attack_fails(scene: Scene) -> Doubt | None:
    """An attack that may change everything does not break every row (Athalye et al. 2018, section 3.1)."""
    probe = probe_of(scene)
    boundless = probe.boundless
    if not probe.has_gradient or boundless is None:
        return None
    left = ~probe.broken(_unbounded(probe), boundless)
    if not bool(left.any()):
        return None
    return Doubt(
        "unbounded-attack-fails",
        f"with no limit to the change, {int(left.sum())} of {len(probe)} rows still withstand {_unbounded(probe).name}: the attacks are misled",
    )


def _unbounded(probe: Probe) -> Attack:
    if probe.siege.threat.perturbation.kind == "l0":
        return find("jsma").bind(steps=max(math.ceil(math.prod(probe.plan.data.shape) / 2), 1))
    return probe.stepping(steps=100, step=0.05, loss=LEAD)


def more_steps_help(scene: Scene) -> Doubt | None:
    """Rows that withstood the campaign fall when its longest climb is made longer, four times if it is short."""
    probe = probe_of(scene)
    if not probe.has_gradient or not len(probe.survivors) or scene.cut:
        return None
    longer, rows = _longer(probe), probe.nearest
    fell = int(probe.broken(longer, rows=rows).sum())
    if fell < enough(probe):
        return None
    return Doubt(
        "more-steps-help",
        f"of {len(rows)} sampled rows that withstood the campaign and came near to falling, {fell} fall to {longer.name} with "
        f"{longer.settings['steps']} steps: the attacks stopped too early",
    )


def _longer(probe: Probe) -> Attack:
    """PGD with four times the steps of the campaign's longest climb (twice, from 100 on), half as far but able to cross the ball."""
    if probe.many_steps.name not in CLIMBS:
        return probe.stepping(steps=400)
    steps = steps_of(probe.climb)
    step: float = probe.climb.settings["step"] if probe.climb.name in (*CLIMBS, "bim") else 0.1
    return once(probe.stepping(steps=min(4 * steps, max(2 * steps, 200)), step=max(step / 2, 1 / steps), loss=LEAD))


def loss_still_rising(scene: Scene) -> Doubt | None:
    """The campaign's longest climb still gained in its last steps, on rows that would fall to as many steps more at that pace."""
    probe = probe_of(scene)
    if not probe.has_gradient or not len(probe.survivors) or probe.longest is None or scene.cut:
        return None
    rising = _rising(probe)
    if rising < enough(probe, RISE):
        return None
    return Doubt(
        "loss-still-rising",
        f"on {rising} of {len(probe.survivors)} sampled rows that withstood the campaign, the margin was still rising by more than {RISE:.0%} of "
        f"its whole rise in the last steps of {probe.climb.name}, its longest climb: it was not finished",
    )


def _rising(probe: Probe) -> int:
    """Rows of the climb that stand, rose at the end, would fall to as many steps more at that pace, and were not brought further by one step
    alone, where the campaign took one."""
    best = probe.climbed.best
    t = len(best)
    if t < 4:
        return 0
    last = min(LAST, t // 4)
    end, before, begin = best[-1], best[-1 - last], best[0]
    rose = torch.isfinite(begin) & (end - before > RISE * (end - begin)) & (end + (end - before) / last * t > 0)
    single = (a for a in probe.siege.attacks if not (a.facts.minimal or a.facts.proof or steps_of(a)))
    if any(a.facts.access >= Access.GRADIENT for a in single):
        rose &= end > probe.one_step.best[-1][probe.survivors]
    return int((rose & ~probe.climbed.broken).sum())


def curve_not_monotone(scene: Scene) -> Doubt | None:
    """Rows that withstood the campaign fall to the same climb within half the radius."""
    probe = probe_of(scene)
    if not probe.has_gradient or not len(probe.survivors) or probe.half is None:
        return None
    fell = int(probe.broken(once(probe.climb, SHORT), probe.half, probe.survivors).sum())
    if fell < enough(probe):
        return None
    eps = probe.half.perturbation.eps
    return Doubt(
        "curve-not-monotone",
        f"{fell} of {len(probe.survivors)} sampled rows that withstood the campaign fall to {probe.climb.name} within {eps:.3g}, half the radius: "
        "with more room the attacks do worse",
    )


def silent_success(scene: Scene) -> Doubt | None:
    """The target was fooled at points of an attack that did not count, because it answers otherwise where gradients are asked for."""
    probe = probe_of(scene)
    if not probe.has_gradient or not len(probe.survivors) or not steady(scene):
        return None
    missed = int(probe.climbed.missed.sum())
    if not missed:
        return None
    return Doubt(
        "silent-success",
        f"on {missed} of {len(probe.survivors)} sampled rows that withstood the campaign, points of {probe.climb.name} fool the target when asked "
        "without a gradient, and not when asked with one: it answers the two differently",
    )


def stopped_by_rejection(scene: Scene) -> Doubt | None:
    """Rows stand because the target refused to answer, and no attack was led past the refusal."""
    probe = probe_of(scene)
    if not probe.has_gradient or probe.plan.target.reject is None or not len(probe.survivors) or not steady(scene):
        return None
    refused = int((probe.climbed.refused & ~probe.climbed.broken).sum())
    if refused < enough(probe, RISE):
        return None
    blind, fell = _unseen_refusals(probe)
    if blind < enough(probe) and fell < enough(probe):
        return None
    why = f"on {blind} of them the refusal has no gradient" if blind >= fell else f"{fell} of them fall to an attack that is led past it"
    return Doubt(
        "stopped-by-rejection",
        f"{refused} of {len(probe.survivors)} sampled rows that withstood the campaign would have fallen, had the target not refused to answer; "
        f"{why}",
    )


def _unseen_refusals(probe: Probe) -> tuple[int, int]:
    """Of the rows that a refusal saved: on how many it has no gradient at that point, and how many an attack that sees it breaks."""
    rows = probe.survivors[probe.climbed.refused]
    points, reject = probe.climbed.point[probe.climbed.refused], probe.plan.target.reject
    o = probe.oracle(probe.threat, rows)
    with o.attacking("refusal-check", probe.climb.facts.access):
        _, gradient = o.ascend(o.project(points.to(o.x)), lambda aim, z: -z[:, reject])
    blind = (gradient.flatten(1) == 0).all(1)
    fell = probe.broken(probe.stepping(loss=LEAD), rows=rows)
    return int(blind.sum()), int(fell.sum())
