"""What a way of training chooses its best epoch by, where that is not accuracy under PGD: functions of a model and held-out rows, to a share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from vauban.attacks import find
from vauban.bounds import certify
from vauban.defences.training.inner import concerned, worst
from vauban.defences.training.rows import Part
from vauban.doors import Oracle
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Ball, Threat

Measure = Callable[[Target, Part, Threat, Mapping[str, Any]], float]
"""(model, held-out rows on the model's device, the threat at its full radius, the method's settings) to a share in [0, 1], higher is better;
its name, with spaces for underscores, is what is told beside it. It asks the same of a model whenever it is called."""

DRAWS = 4


def certified(target: Target, rows: Part, threat: Threat, settings: Mapping[str, Any]) -> float:
    """The share of the rows that the threat's goal is about that intervals certify (`vauban.bounds.certify`, float64), at the full radius."""
    ball = threat.perturbation
    about = concerned(threat.goal, rows.y)
    if not isinstance(ball, Ball) or not bool(about.any()):
        return 0.0
    found = certify(target, rows.x[about], rows.y[about], ball, level="interval")
    return float(found.certified.double().mean())


def right_under_noise(target: Target, rows: Part, threat: Threat, settings: Mapping[str, Any]) -> float:
    """The share of right answers to the rows in Gaussian noise of the method's `sigma`, over a few draws each."""
    right = 0.0
    for draw in range(DRAWS):
        noise = RowNoise(rows.ids, 0, "measured", draw).normal(*rows.x.shape[1:]).to(rows.x)
        noisy = rows.x + settings["sigma"] * noise
        right += sum(float((target.labels(x) == y).double().sum()) for x, y in zip(noisy.split(512), rows.y.split(512), strict=True))
    return right / (DRAWS * len(rows))


def right_and_not_fooled(target: Target, rows: Part, threat: Threat, settings: Mapping[str, Any]) -> float:
    """The share of the rows that are answered rightly, and under an attack on answer and rejection at once rightly or not at all."""
    about = concerned(threat.goal, rows.y)
    o = Oracle(target, rows.x, rows.y, threat, seed=0, ids=rows.ids)
    find("pgd").bind(steps=20, step=0.125, loss="margin")(o)
    return float((o.outcome.standing & about).double().sum() / about.double().sum().clamp_min(1))


def stood_or_rejected(target: Target, rows: Part, threat: Threat, settings: Mapping[str, Any]) -> float:
    """The share of the rows that are answered rightly and surely, and never wrongly and surely under an attack that raises confidence.

    Sure is what 99 % of the clean rows that are answered rightly are.
    """
    clean = torch.cat([target.scores(x) for x in rows.x.split(512)]).softmax(1).max(1)
    right = clean.indices == rows.y
    if not bool(right.any()):
        return 0.0
    least = clean.values[right].quantile(0.01)
    found = worst(target, rows.x, rows.y, threat, find("conf-max").bind(steps=20, restarts=1), ids=rows.ids, seed=0)
    attacked = torch.cat([target.scores(x) for x in found.split(512)]).softmax(1).max(1)
    beaten = (attacked.indices != rows.y) & (attacked.values >= least)
    return float((right & (clean.values >= least) & ~beaten).double().mean())


def named(measure: Measure) -> str:
    """What a measure is called in tables."""
    return getattr(measure, "__name__", type(measure).__name__).replace("_", " ")
