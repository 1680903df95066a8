"""Doubts about the model: signs that its answers, or its gradients, are not what an attacker needs."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.losses import cross_entropy, margin
from vauban.attacks.parts.starts import random_start
from vauban.campaign.doubts.probe import Probe, probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt
from vauban.threat import Access

ZERO_SHARE = 0.05
"""From this share of rows without any gradient on, the attacks that follow gradients are blind on too many."""
TOLERANCE = 1e-3
"""Differences of scores, relative to their spread, that floating point and batch sizes explain."""


def zero_gradients(scene: Scene) -> Doubt | None:
    """Gradients that are zero, or no numbers, at the clean input and at a random point of the ball."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    flat = _flat_rows(probe)
    if flat <= ZERO_SHARE * len(probe) and not scene.bad_gradient:
        return None
    words = [f"{flat} of {len(probe)} sampled rows have no gradient at all, at the clean input and at a random point"] if flat else []
    words += [f"{scene.bad_gradient} rows had gradients that are NaN or infinite"] if scene.bad_gradient else []
    return Doubt("zero-gradients", f"{'; '.join(words)}: attacks that follow gradients are blind there")


def _flat_rows(probe: Probe) -> int:
    """Rows whose gradient is zero for cross-entropy and for the margin, at both points."""
    o = probe.oracle(probe.threat)
    index = torch.arange(len(probe))
    steep = torch.zeros(len(probe), dtype=torch.bool)
    with o.attacking("gradient-check", Access.GRADIENT):
        s = o.rows(index=index.to(o.x.device), x=random_start(o))
        for loss in (cross_entropy, margin):
            for x in (o.x, s.x):
                _, gradient = o.ascend(x, loss)
                rows = (gradient.flatten(1) != 0).any(1)
                steep[s.index[rows].cpu()] = True
    fell = o.outcome.broken.cpu()  # a row that fell on the way needs no gradient
    return int((~steep & ~fell).sum())


def not_deterministic(scene: Scene) -> Doubt | None:
    """The same input gets different answers, from a target that was not declared randomised."""
    probe = probe_of(scene)
    if scene.plan.target.randomised or not len(probe):
        return None
    first, second = _scores(probe, len(probe)), _scores(probe, len(probe))
    moved = int((_apart(first, second) > 1e-6).sum())
    if not moved:
        return None
    return Doubt(
        "not-deterministic", f"{moved} of {len(probe)} sampled rows got other scores when asked twice; declare the target randomised"
    )


def batch_dependent(scene: Scene) -> Doubt | None:
    """An answer depends on the other inputs of its batch."""
    probe = probe_of(scene)
    if scene.plan.target.randomised or not len(probe):
        return None
    together, alone = _scores(probe, len(probe)), _scores(probe, 1)
    moved = int((_apart(together, alone) > TOLERANCE).sum())
    if not moved or not_deterministic(scene) is not None:
        return None
    return Doubt("batch-dependent", f"{moved} of {len(probe)} sampled rows get other scores alone than in a batch")


def _scores(probe: Probe, batch: int) -> Tensor:
    target = probe.plan.target
    parts = [probe.x[i : i + batch].to(target.device) for i in range(0, len(probe), batch)]
    if target.access < Access.SCORE:
        return torch.cat([target.labels(x).cpu() for x in parts])[:, None].double()
    return torch.cat([target.scores(x).cpu() for x in parts]).double()


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
