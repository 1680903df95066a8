"""Doubts about the attacks: signs that stronger ones would have found more."""

from __future__ import annotations

import math

from torch import Tensor

from vauban.attacks import Attack, find
from vauban.campaign.doubts.probe import Probe, probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt
from vauban.measure import mcnemar

LEVEL = 0.05


def one_step_beats_many_step(scene: Scene) -> Doubt | None:
    """One step along the gradient breaks more than many steps do (Athalye et al. 2018, section 3.1)."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    told = beaten(probe, probe.by_one_step, "one gradient step")
    return None if told is None else Doubt("one-step-beats-many-step", f"{told}: gradients may be masked")


def noise_beats_gradients(scene: Scene) -> Doubt | None:
    """Random noise breaks more than gradients do (Athalye et al. 2018, section 3.1)."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    told = beaten(probe, probe.by_noise, "random noise")
    return None if told is None else Doubt("noise-beats-gradients", f"{told}: gradients mislead")


def beaten(probe: Probe, weak: Tensor, name: str) -> str | None:
    """In words, that a weaker attack did significantly better than many gradient steps on the same rows (exact McNemar); else None."""
    strong = probe.by_many_steps
    only_weak, only_strong = int((weak & ~strong).sum()), int((strong & ~weak).sum())
    if only_weak <= only_strong or mcnemar(only_weak, only_strong) >= LEVEL:
        return None
    return f"of {len(probe)} rows, {name} breaks {only_weak} that {probe.many_steps.name} does not, and {only_strong} the other way round"


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
    return find("pgd").bind(steps=100, step=0.05, loss="margin")


def more_steps_help(scene: Scene) -> Doubt | None:
    """Rows that withstood the campaign fall when its longest climb is made four times as long."""
    probe = probe_of(scene)
    if not probe.has_gradient or not len(probe.survivors) or any(a.stopped for a in scene.attacks):
        return None
    longer = _longer(probe)
    fell = int(probe.broken(longer, rows=probe.survivors).sum())
    if fell < max(2, math.ceil(0.02 * len(probe))):
        return None
    return Doubt(
        "more-steps-help",
        f"{fell} of {len(probe.survivors)} sampled rows that withstood the campaign fall to {longer.name} with {longer.settings['steps']} steps: "
        "the attacks stopped too early",
    )


def _longer(probe: Probe) -> Attack:
    """The climb with the most steps among the campaign's attacks, four times as long, with steps half as far but able to cross the ball."""
    climbs = [a for a in probe.siege.attacks if a.name in ("pgd", "bim")]
    if probe.siege.threat.perturbation.kind == "l0":
        return find("jsma").bind(steps=max(math.ceil(math.prod(probe.plan.data.shape) / 4), 1))
    longest = max(climbs, key=lambda a: a.settings["steps"], default=None)
    steps: int = longest.settings["steps"] if longest is not None else 25
    step: float = longest.settings["step"] if longest is not None else 0.1
    return find("pgd").bind(steps=4 * steps, step=max(step / 2, 1 / steps), loss="margin")
