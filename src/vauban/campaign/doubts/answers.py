"""Doubts about the answers: signs that they are not scores of the input alone, as an attacker needs them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vauban.campaign.doubts.probe import Probe, probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.doubts.surface import Surface, surface_of
from vauban.campaign.record import Doubt
from vauban.threat import Access

TOLERANCE = 1e-3
"""Differences of scores, relative to their spread, that floating point and batch sizes explain."""
VARIANCE = 0.5
"""The variance of a gradient's direction, relative to its squared mean, at which steps still go the right way: a cosine of 0.8 with it."""
REPEATS = 16
"""Gradients drawn at one point to estimate it."""


def not_deterministic(scene: Scene) -> Doubt | None:
    """The same input gets different answers, from a target that was not declared randomised."""
    moved = _moved(scene)
    if scene.plan.target.randomised or not moved:
        return None
    return Doubt(
        "not-deterministic",
        f"{moved} of {len(probe_of(scene))} sampled rows got other scores when asked twice; declare the target randomised",
    )


def steady(scene: Scene) -> bool:
    """Whether there are rows, and the same question with the same noise (if the target takes any) gets the same answer."""
    return len(probe_of(scene)) > 0 and not _moved(scene)


@lru_cache(maxsize=1)
def _moved(scene: Scene) -> int:
    """How many rows of the sample get other scores when asked twice."""
    probe = probe_of(scene)
    if not len(probe):
        return 0
    return int((_apart(_scores(probe, len(probe)), _scores(probe, len(probe))) > 1e-6).sum())


def batch_dependent(scene: Scene) -> Doubt | None:
    """An answer depends on the other inputs of its batch."""
    probe = probe_of(scene)
    if not steady(scene):
        return None
    together, alone = _scores(probe, len(probe)), _scores(probe, 1)
    moved = int((_apart(together, alone) > TOLERANCE).sum())
    if not moved:
        return None
    return Doubt("batch-dependent", f"{moved} of {len(probe)} sampled rows get other scores alone than in a batch")


def _scores(probe: Probe, batch: int) -> Tensor:
    """Scores (n, classes) of the sample, or labels (n, 1), float64; what is random draws the same noise for a row each time."""
    target, noise = probe.plan.target, probe.noise
    parts: list[Tensor] = []
    for i in range(0, len(probe), batch):
        rows = torch.arange(i, min(i + batch, len(probe)))
        x, draw = probe.x[rows].to(target.device), None if noise is None else noise.take(rows.to(target.device))
        answer = target.labels(x, draw)[:, None] if target.access < Access.SCORE else target.scores(x, draw)
        parts.append(answer.cpu().double())
    return torch.cat(parts)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """How far two answers to each row lie apart, relative to the spread of the scores; NaN counts as apart only from a number."""
    spread = torch.nan_to_num(a).std().clamp_min(1e-12)
    gap = ((a - b).abs() / spread).nan_to_num(0.0)
    return torch.maximum(gap.amax(1), (torch.isnan(a) != torch.isnan(b)).any(1).double())


def not_a_number(scene: Scene) -> Doubt | None:
    """Scores that are not finite: such rows can never be counted as broken."""
    if not scene.nonfinite:
        return None
    return Doubt("not-a-number", f"{scene.nonfinite} rows got scores that are NaN or infinite, which never count as a success")


def wrong_output_kind(scene: Scene) -> Doubt | None:
    """Scores that are not what the target's outputs are declared to be: probabilities taken for logits, or the other way round."""
    target, probe = scene.plan.target, probe_of(scene)
    if target.access < Access.SCORE or not len(probe):
        return None
    z = _scores(probe, len(probe))
    z = z[torch.isfinite(z).all(1)]
    if not len(z):
        return None
    if target.outputs == "logits" and bool(((z >= 0) & (z <= 1)).all()) and bool(((z.sum(1) - 1).abs() < 1e-3).all()):
        return Doubt(
            "wrong-output-kind",
            "the outputs are declared logits and are probabilities, whose differences vanish where the model is sure: declare them so",
        )
    off = int((z.exp().sum(1).log().abs() > 1e-2).sum())
    if target.outputs in ("probabilities", "log-probabilities") and 2 * off > len(z):
        return Doubt("wrong-output-kind", f"the outputs are declared {target.outputs}, and those of {off} of {len(z)} rows do not sum to 1")
    return None


def too_few_draws(scene: Scene) -> Doubt | None:
    """Gradients of what is random point elsewhere with every draw; says how many draws would steady them."""
    surface = surface_of(scene)
    if surface is None:
        return None
    need = _draws_needed(surface)
    if need <= 1:
        return None
    about = f"about {math.ceil(need)} times as many draws" if need < 10 * REPEATS else f"more than {10 * REPEATS} times as many draws"
    return Doubt(
        "too-few-draws",
        f"gradients at the same point differ so much between draws that {about} as each gradient takes now would be needed to follow them: "
        "take them from an Expectation",
    )


def _draws_needed(surface: Surface) -> float:
    """By what to multiply the draws so that the median row's gradient has a variance of `VARIANCE` of its squared mean."""
    found = [surface.drawn(surface.x, k) for k in range(2)]
    if found[0] is None or found[1] is None or torch.equal(found[0], found[1]):
        return 0.0
    found += [surface.drawn(surface.x, k) for k in range(2, REPEATS)]
    g = torch.stack([f for f in found if f is not None]).flatten(2).cpu().double()
    power = (g**2).sum(2).mean(0)
    mean = (g.sum(0) ** 2).sum(1)
    signal = (mean - REPEATS * power) / (REPEATS * (REPEATS - 1))  # the mean product of unlike draws: unbiased
    ratio = torch.where(signal > 0, (power - signal).clamp_min(0) / signal.clamp_min(1e-300), torch.inf)
    return float(ratio[power > 0].median()) / VARIANCE if bool((power > 0).any()) else 0.0
